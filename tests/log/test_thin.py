"""Thinned segments merge to what there was, are few, and never larger than what they were made from."""

import warnings
from pathlib import Path

import pytest
from log_rows import LAYERS, bits, expect, make, segments, table, total, write

from fastact.history import LayerInfo
from fastact.log import LogOptions, LogWriter, RunReader
from fastact.log.files import list_segments
from fastact.log.frames import END_MARK
from fastact.log.plan import KeptSegment, next_job
from fastact.log.retention import Retention
from fastact.log.thin import SegmentFacts, thin


def same(whole: list[tuple[object, ...]], thinned: list[tuple[object, ...]]) -> None:
    for layer in {row[1] for row in whole}:
        want = total([row for row in whole if row[1] == layer])
        got = total([row for row in thinned if row[1] == layer])
        assert (*got[:6], *got[9:11]) == (*want[:6], *want[9:11])  # counts, min and max exactly
        assert got[6:9] == pytest.approx(want[6:9], rel=1e-12, nan_ok=True)


def refuse(error: OSError) -> None:
    raise error


def thinned(run: Path, options: LogOptions) -> None:
    """Does all that retention has to do, as a writer that went on would have done it."""
    reader = RunReader(run)
    session = next(iter(reader.batches(pytest.fail))).frame.session
    steps = [row[0] for row in table(run)]
    retention = Retention(run, options, refuse)
    while retention.work(session, min(steps), max(steps)):
        pass


def logged(run: Path, steps: int, batch: int = 16, **options: object) -> list[tuple[object, ...]]:
    rows = [make(step, layer) for step in range(steps) for layer in (0, 1)]
    writer = write(run, [], batch_rows=batch, flush_seconds=60, metadata={"a": "b"}, **options)
    for begin in range(0, len(rows), batch):
        for row in rows[begin : begin + batch]:
            writer.append(row)
        writer.flush()
    writer.close()
    return rows


def test_thinned_history_merges_to_the_same(tmp_path: Path) -> None:
    options = LogOptions(keep_steps=100, merge_steps=10)
    rows = logged(tmp_path, 600, segment_bytes=11_000)
    thinned(tmp_path, options)
    left = table(tmp_path)
    assert 2 * 150 < len(left) < 2 * 175
    assert [bits(row) for row in left[-200:]] == expect(rows[-200:])
    same(rows, left)
    assert RunReader(tmp_path).metadata == {"a": "b"}
    assert not list(tmp_path.glob("*.thin"))


@pytest.mark.parametrize("k", [1, 3, 1000])
def test_segments_that_follow_each_other_become_one(tmp_path: Path, k: int) -> None:
    rows = logged(tmp_path / "run", 60, segment_bytes=11_000)
    sources = segments(tmp_path / "run")
    assert len(sources) > 3
    target = tmp_path / "one" / "segment-000000.arrows"
    target.parent.mkdir()
    for _ in thin(sources, target, len(rows), k, 16, "lz4"):
        pass
    left = table(target.parent)
    same(rows, left)
    if k == 1:
        assert [bits(row) for row in left] == expect(rows)
    else:
        groups = sorted({(row[0] // k, row[1]) for row in rows})  # type: ignore[operator]
        assert [(row[0] // k, row[1]) for row in left] == groups
    assert RunReader(target.parent).layers == LAYERS
    assert target.stat().st_size < sum(path.stat().st_size for path in sources)


def test_a_log_grows_with_the_logarithm_of_its_steps(tmp_path: Path) -> None:
    """Each kind of row takes as much room as the first one, whatever their number."""
    session, facts, kept = "0" * 16, SegmentFacts("0" * 16, 0, 0, 0, 0), []
    counts = []
    for step in range(0, 400_000, 25):
        kept.append(KeptSegment(step, "", 2500, facts._replace(first_step=step, last_step=step + 24), known=True))
        while job := next_job(
            kept, [step + 24 - each.facts.last_step for each in kept if each.facts], 200, 10, 1 << 20
        ):
            place = kept.index(job.sources[0])
            steps = job.facts.last_step - job.facts.first_step + 1
            merged = KeptSegment(job.sources[0].number, "", 1000 + 60 * steps // job.k, job.facts, known=True)
            kept[place : place + len(job.sources)] = [merged]
        if step + 25 in {400, 4_000, 40_000, 400_000}:
            rows = sum((f.last_step - f.first_step + 1) // f.merged_steps for each in kept if (f := each.facts))
            counts.append((rows, len(kept), max(each.facts.merged_steps for each in kept if each.facts)))
    assert session
    assert [k for _, _, k in counts] == [10, 100, 1000, 10_000]
    assert all(rows <= 300 * (i + 1) and files <= 20 * (i + 1) for i, (rows, files, _) in enumerate(counts, 1))


@pytest.mark.parametrize("layers", [1, 300])
def test_thinning_never_makes_a_log_larger(tmp_path: Path, layers: int) -> None:
    """One step a segment, and names that take more room than rows."""
    writer = LogWriter(tmp_path, LogOptions(batch_rows=1, flush_seconds=60, segment_bytes=1))
    infos = [LayerInfo(f"layer {i} {'x' * 20}", i, "ReLU") for i in range(layers)]
    for info in infos:
        writer.add_layer(info)
    rows = [make(step, step % layers) for step in range(40)]
    for row in rows:
        writer.append(row)
        writer.flush()
    writer.close()
    options = LogOptions(keep_steps=8, merge_steps=2)
    before = RunReader(tmp_path).nbytes
    reader = Retention(tmp_path, options, refuse)
    session = next(iter(RunReader(tmp_path).batches(pytest.fail))).frame.session
    size = before
    while reader.work(session, 0, 39):
        now = RunReader(tmp_path).nbytes
        assert now <= size
        size = now
    assert RunReader(tmp_path).nbytes < before / 2
    same(rows, table(tmp_path))


def test_a_writer_that_died_while_it_replaced_segments_leaves_nothing_twice(tmp_path: Path) -> None:
    rows = logged(tmp_path, 60, segment_bytes=11_000)
    sources = segments(tmp_path)[:3]
    copies = {path: path.read_bytes() for path in sources}
    for _ in thin(sources, tmp_path / "draft", 96, 10, 16, "lz4"):
        pass
    (tmp_path / "draft").replace(sources[0])
    left = table(tmp_path)  # the two others are there still
    same(rows, left)
    options = LogOptions(keep_steps=30, merge_steps=10)
    thinned(tmp_path, options)
    assert not {name for _, name in list_segments(tmp_path)} & {path.name for path in list(copies)[1:]}
    same(rows, table(tmp_path))


def test_what_cannot_be_thinned_stays(tmp_path: Path) -> None:
    rows = logged(tmp_path, 60, segment_bytes=11_000)
    second = segments(tmp_path)[1]
    data = bytearray(second.read_bytes())
    data[300] ^= 1  # its header
    second.write_bytes(data)
    writer = write(tmp_path, [], keep_steps=8, merge_steps=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for step in range(200, 260):
            writer.append(make(step))
            writer.flush()
        writer.close()
    assert second.read_bytes() == data
    told: list[str] = []
    count = sum(
        sum(part.batch.column("count").to_pylist())
        for part in RunReader(tmp_path).batches(told.append, everything=True)
    )
    assert count == sum(row[3] for row in rows) + sum(make(step)[3] for step in range(200, 260))  # type: ignore[misc]
    assert all(line.startswith(second.name) for line in told)
    assert END_MARK in bytes(data)
