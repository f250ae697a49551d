"""A segment's index of steps: a few steps of a long run are read without the rest, and are what a full pass finds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from log_segments import LAYER, SESSION, rows

from fastact import open_log
from fastact.fields import ROW
from fastact.history import LayerInfo
from fastact.log import LogOptions, LogWriter, RunReader
from fastact.log.codec import Encoder
from fastact.log.frames import END_MARK
from fastact.log.index_entries import LEAST, IndexEntries
from fastact.log.schema import Header
from fastact.log.step_index import read_index


def write(run: Path, steps: int, **options: Any) -> None:
    """Two layers in each step, and one more from half of the steps on."""
    with LogWriter(run, LogOptions(batch_rows=8, **options)) as writer:
        for order, name in enumerate(("a", "b")):
            writer.add_layer(LayerInfo(name, order, "Linear"))
        for step in range(steps):
            if step == steps // 2:
                writer.add_layer(LayerInfo("late", 2, "ReLU"))
            for order in (0, 1, 2) if step >= steps // 2 else (0, 1):
                writer.append((step, order, 0, 4, *[0] * (len(ROW) - 4)))
            if step % 50 == 49:
                writer.flush()


def steps_of(run: Path, bounds: tuple[int | None, int | None] | None) -> tuple[list[tuple[int, str]], int, list[str]]:
    """The rows (step, layer) within the bounds, the batches that were read for them, and what was told."""
    told: list[str] = []
    batches = list(RunReader(run).batches(told.append, bounds))
    found = [
        (step, name)
        for stored in batches
        for step, name in zip(stored.batch["step"].to_pylist(), stored.batch["layer"].to_pylist(), strict=True)
        if bounds is None or ((bounds[0] or 0) <= step and (bounds[1] is None or step <= bounds[1]))
    ]
    assert all(stored.layers["late"].layer_type == "ReLU" for stored in batches if "late" in str(stored.batch["layer"]))
    return found, len(batches), told


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("log") / "run"
    write(folder, 400, segment_bytes=60_000)
    assert len(list(folder.glob("*.arrows"))) > 2
    return folder


@pytest.mark.parametrize("bounds", [(390, None), (None, 5), (100, 120), (250, 250), (1000, None), (None, None)])
def test_a_range_of_steps_is_what_a_full_pass_finds(run: Path, bounds: tuple[int | None, int | None]) -> None:
    whole, batches, _ = steps_of(run, None)
    found, read, told = steps_of(run, bounds)
    assert found == [row for row in whole if (bounds[0] or 0) <= row[0] <= (400 if bounds[1] is None else bounds[1])]
    assert told == []
    assert bounds == (None, None) or read <= 30 < batches / 3


def test_aggregate_and_replay_read_what_they_need(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_log(run)
    want = [record.step for record in log.replay() if record.step >= 395]
    sizes: list[int] = []
    assert [record.step for record in log.replay(from_step=395, progress=sizes.append)] == want
    assert sizes[-1] < log.nbytes / 10
    assert log.aggregate("step", from_step=395)[399].count == 12
    assert log.warnings == ()


def test_a_damaged_or_lying_index_is_not_used(run: Path, tmp_path: Path) -> None:
    name = "segment-000000.arrows"
    data = (run / name).read_bytes()
    place = data.rindex(b"fastact.index")
    assert read_index(run / name) is not None
    (tmp_path / name).write_bytes(data[: place + 30] + b"X" + data[place + 31 :])
    assert read_index(tmp_path / name) is None
    found, _, told = steps_of(tmp_path, (3, 4))
    assert found == [(3, "a"), (3, "b"), (4, "a"), (4, "b")]
    assert told


def test_damage_among_the_steps_that_are_wanted_is_told_and_other_is_not(run: Path, tmp_path: Path) -> None:
    name = "segment-000000.arrows"
    data = (run / name).read_bytes()
    index = read_index(run / name)
    assert index is not None
    middle = int(index.places[4] + index.places[5]) // 2
    (tmp_path / name).write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    first = int(index.first[4])
    assert "no whole batch" in str(steps_of(tmp_path, (first, first))[2])
    assert steps_of(tmp_path, (0, int(index.last[2])))[2] == []


def test_a_segment_of_few_batches_has_no_index_and_is_read_whole(tmp_path: Path) -> None:
    write(tmp_path / "run", 20)
    assert read_index(tmp_path / "run" / "segment-000000.arrows") is None
    assert [step for step, _ in steps_of(tmp_path / "run", (18, None))[0]] == [18] * 3 + [19] * 3


def test_a_reader_of_before_sees_an_empty_batch(run: Path) -> None:
    import pyarrow as pa

    with pa.ipc.open_stream((run / "segment-000000.arrows").read_bytes()) as stream:
        batches = list(stream)
    assert batches[-1].num_rows == 0
    assert all(batch.num_rows for batch in batches[:-1])


def test_a_segment_that_goes_back_in_steps_keeps_the_range_of_each_batch(tmp_path: Path) -> None:
    encoder = Encoder(Header(SESSION, layers=(LAYER,)), 0, "lz4")
    data, row = encoder.front, 0
    for first in [*range(0, 10 * LEAST, 10), 5]:
        data += encoder.batch(rows(first, 10), row)
        row += 10
    (tmp_path / "segment-000000.arrows").write_bytes(data + encoder.index(row) + END_MARK)
    read = RunReader(tmp_path).batches(pytest.fail, (12, 13))
    found = [step for stored in read for step in stored.batch["step"].to_pylist()]
    assert sorted(set(found)) == list(range(5, 20))


def test_entries_stay_few_and_cover_all() -> None:
    entries = IndexEntries()
    for place in range(5000):
        entries.add(1000 * place, place, place + 2)
    parts = np.array([list(map(int, part.split(":"))) for part in entries.text().split(",")])
    assert len(parts) <= 2048
    assert parts[0].tolist() == [0, 0, 5]
    assert (parts[1:, 1] == parts[:-1, 2] - 1).all()
    assert parts[-1, 2] == 5001
