"""Several ranks are judged as one network."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from replay_runs import Row, live, random_rows, rows_of_a_sick_run, write

from fastact import ActivationMonitor
from fastact.arithmetic import EMPTY
from fastact.arithmetic import merge as merge_states
from fastact.diagnosis.report import Diagnosis
from fastact.fields import ROW, ROW_DTYPE
from fastact.history import LayerInfo
from fastact.replay.blocks import Block, LayerNumbers
from fastact.replay.log import Log, open_log
from fastact.replay.rank_merge import merge_ranks


def merged(*ranks: list[tuple[LayerInfo, Row]]) -> list[tuple[LayerInfo, Row]]:
    """The same layers and steps of several ranks as one, the slow way."""
    apart: dict[tuple[int, int], list[tuple[LayerInfo, Row]]] = {}
    for rank in ranks:
        for info, row in rank:
            apart.setdefault((row[0], info.order), []).append((info, row))
    result = []
    for (step, order), same in sorted(apart.items()):
        state: Any = EMPTY
        for _, row in same:
            state = merge_states(state, (*row[3:14], 0.0))
        neurons = [min(row[i] for _, row in same) for i in range(15, 19)]
        finite = [row[3] - row[4] - row[5] - row[6] for _, row in same]
        squares = sum(n * row[19] ** 2 for n, (_, row) in zip(finite, same, strict=True) if n)
        within = math.sqrt(squares / sum(finite)) if sum(finite) else math.nan
        peaks = max((max(-row[12], row[13]), -row[20]) for _, row in same)
        typical = max((row[21] for _, row in same if row[21] == row[21]), default=math.nan)
        bits = (sum(row[22] for _, row in same) + (1 << 63)) % (1 << 64) - (1 << 63)
        drawn = [sum(row[i] for _, row in same) for i in (23, 24)]
        time = max(row[2] for _, row in same)
        row = (step, order, time, *state[:11], 8, *neurons, within, -peaks[1], typical, bits, *drawn)
        result.append((same[0][0], row))
    return result


def close(left: Diagnosis, right: Diagnosis) -> None:
    """Equal but for the rounding of moments."""
    one, other = left.to_dict(), right.to_dict()
    assert [{**layer, "mean": 0, "std": 0} for layer in one["layers"]] == [
        {**layer, "mean": 0, "std": 0} for layer in other["layers"]
    ]
    for a, b in zip(one["layers"], other["layers"], strict=True):
        assert (a["mean"], a["std"]) == (pytest.approx(b["mean"]), pytest.approx(b["std"]))
    assert [(f["layer"], f["condition"], f["severity"], f["first_step"]) for f in one["findings"]] == [
        (f["layer"], f["condition"], f["severity"], f["first_step"]) for f in other["findings"]
    ]


def merged_blocks(log: Log, layers: LayerNumbers) -> Iterator[Block]:
    return merge_ranks([run.batches(pytest.fail) for run in log.runs.values()], [layers] * len(log.runs))


def test_ranks_are_judged_as_one(tmp_path: Path) -> None:
    ranks = [random_rows(seed, range(60)) for seed in range(3)]
    for rank, rows in enumerate(ranks):
        write(tmp_path / f"rank-{rank:05d}", rows, batch_rows=7 + rank)
    log = open_log(tmp_path)
    layers, want = LayerNumbers(), merged(*ranks)
    (block,) = merged_blocks(log, layers)
    assert [layers.infos[code] for code in block.layers] == [info for info, _ in want]
    for name in ROW_DTYPE.names or ():
        column = [row[[field.name for field in ROW].index(name)] for _, row in want]
        np.testing.assert_allclose(block.rows[name], column, rtol=1e-12, atol=1e-14, err_msg=name)
        if block.rows[name].dtype == np.int64 or name in ("min", "max"):
            assert block.rows[name].tolist() == column
    close(log.diagnose(), live(want))
    assert log.diagnose(rank=1) == live(ranks[1])
    assert log.warnings == ()


def test_a_pipeline_of_ranks_is_one_network(tmp_path: Path) -> None:
    rows = rows_of_a_sick_run(60)
    for rank in range(3):
        write(tmp_path / f"rank-{rank:05d}", [row for row in rows if row[0].order == rank])
    assert open_log(tmp_path).diagnose() == live(rows)


@pytest.mark.parametrize("kept", [90, 78, 45], ids=["all", "some of the repeated steps", "not even those before"])
def test_ranks_that_were_resumed_go_on_together(tmp_path: Path, kept: int) -> None:
    first, second = rows_of_a_sick_run(30), rows_of_a_sick_run(40, first=20)
    for rank, rows in enumerate((first, first[:kept])):
        write(tmp_path / f"rank-{rank:05d}", rows)
        write(tmp_path / f"rank-{rank:05d}", second, start_step=20)
    (block,) = merged_blocks(open_log(tmp_path), LayerNumbers())
    assert block.rows["step"].tolist() == [row[0] for _, row in rows_of_a_sick_run(60)]
    whole = block.rows["count"] == [640 if i % 3 == 2 else 6400 for i in range(180)] * np.array(2)
    assert whole.tolist() == [i < kept or i >= 60 for i in range(180)]


def test_ranks_that_were_resumed_before_sessions_are_merged_pass_by_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastact.log.sessions.Sessions.last", lambda *_: -1)  # as before 1.5: one session for all
    first, second = rows_of_a_sick_run(30), rows_of_a_sick_run(40, first=20)
    for rank in range(2):
        write(tmp_path / f"rank-{rank:05d}", first[: 90 - 12 * rank])
        write(tmp_path / f"rank-{rank:05d}", second)
    (block,) = merged_blocks(open_log(tmp_path), LayerNumbers())
    assert block.rows["step"].tolist() == [row[0] for _, row in first + second]
    sizes = [12800] * 78 + [6400] * 12 + [12800] * 120
    assert block.rows["count"].tolist() == [n // 10 if i % 3 == 2 else n for i, n in enumerate(sizes)]


def test_ranks_wait_in_memory_for_the_slowest_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastact.replay.rank_merge.BLOCK_ROWS", 64)
    for rank in range(4):
        write(tmp_path / f"rank-{rank:05d}", rows_of_a_sick_run(400), batch_rows=16 << rank)
    whole = [block.rows.copy() for block in merged_blocks(open_log(tmp_path), LayerNumbers())]
    assert max(map(len, whole)) <= 4 * 128
    steps = np.concatenate(whole)["step"].tolist()
    assert steps == [step for step in range(400) for _ in range(3)]


def test_groups_of_ranks_are_never_merged_with_each_other(tmp_path: Path) -> None:
    for rank in range(4):
        part = f"tensor {rank % 2}"
        with ActivationMonitor(tmp_path, rank=rank, ranks=4, group=part) as monitor:
            for step in range(12):
                x = np.full((8, 4), 1.0 + 99.0 * (rank % 2) + 0.01 * step + 0.1 * rank, np.float32)
                monitor.record("fc", x + np.eye(8, 4, dtype=np.float32), axis=-1, layer_type="Linear")
                monitor.step()
    log = open_log(tmp_path)
    layers = {layer.name: layer for layer in log.diagnose().layers}
    assert list(layers) == ["tensor 0/fc", "tensor 1/fc"]
    assert layers["tensor 0/fc"].mean == pytest.approx(1.28, abs=0.1)
    assert layers["tensor 1/fc"].mean == pytest.approx(100.4, abs=0.1)
    assert all(finding.condition != "rank_differs" for finding in log.diagnose().findings)
    log.report(tmp_path / "report.html")
    assert "tensor 1/fc" in (tmp_path / "report.html").read_text()
