"""What a merged diagnosis says of ranks that are missing, died, lag or are torn."""

from pathlib import Path

import pytest
from replay_runs import LAYERS, rows_of_a_sick_run, write

from fastact.log import LogOptions, LogWriter
from fastact.replay.log import open_log


def ranks(folder: Path, steps: dict[int, int], metadata: dict[str, str] | None = None) -> None:
    for rank, count in steps.items():
        write(folder / f"rank-{rank:05d}", rows_of_a_sick_run(count), metadata)


def told(folder: Path) -> str:
    log = open_log(folder)
    log.diagnose()
    return "\n".join(log.warnings)


def test_ranks_that_are_whole_are_not_spoken_of(tmp_path: Path) -> None:
    ranks(tmp_path, {0: 40, 1: 40, 2: 39})
    assert told(tmp_path) == ""


def test_a_missing_rank_is_told(tmp_path: Path) -> None:
    ranks(tmp_path, {0: 20, 2: 20})
    assert "rank 1 of 3 has no directory" in told(tmp_path)


def test_ranks_that_never_began_are_told_where_the_log_says_how_many_there_were(tmp_path: Path) -> None:
    ranks(tmp_path, {0: 20, 1: 20}, {"ranks": "4"})
    assert "ranks 2, 3 of 4 have no directory" in told(tmp_path)


def test_a_rank_that_ended_early_is_told_by_all_ways_of_reading(tmp_path: Path) -> None:
    ranks(tmp_path, {0: 40, 1: 10, 2: 40})
    want = "rank-00001: its last row is of step 9, where other ranks reach step 39: it ended there"
    assert want in told(tmp_path)
    assert want in str(open_log(tmp_path).warnings)


def test_a_rank_whose_process_died_is_told(tmp_path: Path) -> None:
    ranks(tmp_path, {0: 40, 1: 10})
    folder = tmp_path / "rank-00001"
    (folder / "segment-000000.arrows").rename(folder / "segment-000000.live")
    (folder / "writer.lock").write_text("process 1 on nowhere")
    assert "rank-00001: its last row is of step 9, where other ranks reach step 39: its process died" in told(tmp_path)


def test_a_rank_that_lags_while_it_is_written_is_told(tmp_path: Path) -> None:
    ranks(tmp_path, {0: 200})
    with LogWriter(tmp_path / "rank-00001", LogOptions(batch_rows=3)) as writer:
        for info, row in rows_of_a_sick_run(190):
            writer.add_layer(info)
            writer.append(row)
        writer.flush()
        assert told(tmp_path) == ""  # ranks are not written in the same moment
    ranks(tmp_path, {2: 5})
    with LogWriter(tmp_path / "rank-00003") as writer:
        for info, row in rows_of_a_sick_run(50):
            writer.add_layer(info)
            writer.append(row)
        writer.flush()
        found = told(tmp_path)
    assert "rank-00002: its last row is of step 4" in found
    assert "rank-00003: its last row is of step 49, where other ranks reach step 199: it lags" in found


def test_a_rank_without_rows_is_told(tmp_path: Path) -> None:
    ranks(tmp_path, {0: 20})
    with LogWriter(tmp_path / "rank-00001") as writer:
        writer.add_layer(LAYERS[0])
    assert "rank-00001: it has no rows, where other ranks reach step 19" in told(tmp_path)


@pytest.mark.parametrize("damage", ["torn", "unreadable"])
def test_a_torn_rank_is_told(tmp_path: Path, damage: str) -> None:
    ranks(tmp_path, {0: 40, 1: 40})
    segment = tmp_path / "rank-00001" / "segment-000000.arrows"
    data = segment.read_bytes()
    segment.write_bytes(data[: len(data) // 2] if damage == "torn" else b"nothing")
    assert "rank-00001" in told(tmp_path)


def test_of_a_run_of_one_process_and_one_of_ranks_in_a_folder_the_last_is_read(tmp_path: Path) -> None:
    def alone(folder: Path) -> None:
        write(folder, rows_of_a_sick_run(12))

    def several(folder: Path) -> None:
        ranks(folder, {0: 20, 1: 20})

    for name, runs, rows_of, said in (
        ("ranks last", (alone, several), (0, 1), "an older run of one process lies beside the rank directories"),
        ("one last", (several, alone), (0,), "2 rank directories lie beside the segments and were not read"),
    ):
        for start in runs:
            start(tmp_path / name)
        log = open_log(tmp_path / name)
        assert log.ranks == rows_of
        assert max(log.to_table()["step"].to_pylist()) == (19 if len(rows_of) == 2 else 11)
        assert said in told(tmp_path / name)
