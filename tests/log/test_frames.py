"""Damaged bytes: what is whole is found, and what is lost is told."""

import io
from pathlib import Path

import numpy as np
import pytest
from log_rows import LAYERS, ends, expect, make, read, segment_of, segments, write

from fastact.errors import LogError
from fastact.log import RunReader
from fastact.log.frames import END_MARK, frames


def test_every_truncation_keeps_exactly_the_whole_batches(tmp_path: Path) -> None:
    rows = [make(step) for step in range(4)]
    write(tmp_path / "whole", rows, batch_rows=2).close()
    source = segment_of(tmp_path / "whole")
    whole, marks = source.read_bytes(), ends(source)
    target = tmp_path / "cut" / "segment-000000.arrows"
    target.parent.mkdir()
    # Each place beside the end of a frame, and each seventh elsewhere: the others are cut in the same ways.
    near = {size + at for size, _ in marks for at in range(-9, 10)}
    for size in sorted({*range(0, len(whole), 7), *range(40), *near} & set(range(len(whole)))):
        target.write_bytes(whole[:size])
        if size < marks[0][0]:
            with pytest.raises(LogError, match="nothing can be read from the log"):
                RunReader(target.parent)
            continue
        kept = max(count for end, count in marks if end <= size)
        got, told = read(target.parent)
        assert got == expect(rows[:kept])
        assert told


def test_flipped_bits_cost_their_batch_only(tmp_path: Path) -> None:
    rows = [make(step) for step in range(8)]
    write(tmp_path / "whole", rows, batch_rows=2).close()
    source = segment_of(tmp_path / "whole")
    whole, marks = source.read_bytes(), ends(source)
    target = tmp_path / "flipped" / "segment-000000.arrows"
    target.parent.mkdir()
    random = np.random.default_rng(1)
    for bit in random.choice(8 * len(whole), 400, replace=False):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << (bit % 8)
        target.write_bytes(damaged)
        got, told = read(target.parent)
        index = sum(end <= bit // 8 for end, _ in marks)  # 0 the schema, 1 to 4 the batches, 5 the end mark
        lost = range(2 * index - 2, 2 * index) if 1 <= index <= 4 else range(0)
        assert got == expect(row for step, row in enumerate(rows) if step not in lost)
        assert told


def test_many_mutations_never_yield_a_wrong_row(tmp_path: Path) -> None:
    rows = [make(step) for step in range(8)]
    write(tmp_path / "whole", rows, batch_rows=2).close()
    whole = segment_of(tmp_path / "whole").read_bytes()
    target = tmp_path / "mutant" / "segment-000000.live"
    target.parent.mkdir()
    right = set(expect(rows))
    random = np.random.default_rng(2)
    for _ in range(300):
        a, b, c = sorted(random.integers(0, len(whole), 3))
        noise = random.bytes(int(random.integers(0, 50)))
        ways = [whole[:a] + whole[b:], whole[:b] + whole[a:], whole[:a] + noise + whole[a:], whole[:a] + bytes(c - a)]
        ways.append(whole[:a] + END_MARK[:4] * int(random.integers(1, 9)) + whole[b:])
        target.write_bytes(ways[random.integers(len(ways))])
        try:
            got, _ = read(target.parent)
        except LogError:
            continue
        assert set(got) <= right
        assert len(got) == len(set(got))


def test_a_lost_schema_is_taken_from_a_neighbour(tmp_path: Path) -> None:
    rows = [make(step) for step in range(4)]
    write(tmp_path, rows, batch_rows=2, segment_bytes=1).close()
    first, second = segments(tmp_path)
    data = bytearray(first.read_bytes())
    data[300] ^= 1
    first.write_bytes(data)
    parts = list(RunReader(tmp_path).batches(lambda _: None))
    assert [part.layers["encoder.0"] for part in parts] == [LAYERS[0], LAYERS[0]]
    got, told = read(tmp_path)
    assert got == expect(rows)
    assert all(line.startswith("segment-000000.arrows: ") for line in told)
    second.unlink()
    assert read(tmp_path)[0] == expect(rows[:2])


def test_a_whole_batch_that_is_missing_is_told(tmp_path: Path) -> None:
    rows = [make(step) for step in range(6)]
    write(tmp_path, rows, batch_rows=2).close()
    segment = segment_of(tmp_path)
    (begin, _), (end, _) = ends(segment)[1:3]
    data = segment.read_bytes()
    segment.write_bytes(data[:begin] + data[end:])
    got, told = read(tmp_path)
    assert got == expect(rows[:2] + rows[4:])
    assert told == [f"segment-000000.arrows: rows 2 to 3 of this writer are missing before byte {begin}"]
    segment.write_bytes(data[:end] + data[begin:])
    got, told = read(tmp_path)
    assert got == expect(rows)
    assert told == [f"segment-000000.arrows: the batch at byte {end} repeats rows and was left out"]


def test_scattered_flips_cost_what_they_hit_and_nothing_after(tmp_path: Path) -> None:
    write(tmp_path, [make(step) for step in range(600)], batch_rows=1).close()
    source = segment_of(tmp_path)
    whole, marks = source.read_bytes(), ends(source)
    random = np.random.default_rng(3)
    damaged, hit = bytearray(whole), set()
    for bit in random.choice(8 * (len(whole) - len(END_MARK)), 150, replace=False).tolist():
        damaged[bit // 8] ^= 1 << (bit % 8)
        hit.add(sum(end <= bit // 8 for end, _ in marks))
    told: list[str] = []
    found = {frame.offset for frame in frames(io.BytesIO(damaged), len(damaged), told.append)}
    places = [0, *(end for end, _ in marks)]
    assert found == {place for index, place in enumerate(places[:-1]) if index not in hit}
    assert all("are damaged and were skipped" in line for line in told)


def test_a_search_that_is_given_up_says_so(tmp_path: Path) -> None:
    write(tmp_path, [make(0)]).close()
    whole = segment_of(tmp_path).read_bytes()
    start = END_MARK[:4] + (400_000).to_bytes(4, "little") + bytes(8)
    told: list[str] = []
    data = start * 50_000 + whole
    assert list(frames(io.BytesIO(data), len(data), told.append)) == []
    assert told[0] == (
        f"the search for whole batches was given up within bytes 0 to {len(data) - 1}, which are damaged: what is "
        "whole among them was left out"
    )
