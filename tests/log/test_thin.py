"""Thinned segments merge to what there was."""

import threading
from pathlib import Path

import pytest
from log_rows import bits, expect, make, table, total, write

from fastact.log import RunReader


def test_thinned_history_merges_to_the_same(tmp_path: Path) -> None:
    rows = [make(step, layer) for step in range(600) for layer in (0, 1)]
    runs = [tmp_path / "whole", tmp_path / "thin"]
    for run, options in zip(runs, [{}, {"keep_steps": 100, "merge_steps": 10}], strict=True):
        writer = write(run, [], batch_rows=16, metadata={"a": "b"}, **options)
        for begin in range(0, len(rows), 16):
            for row in rows[begin : begin + 16]:
                writer.append(row)
            writer.flush()
        for _ in range(1000):  # retention works between batches
            if not options or len(table(run)) < 500:
                break
            threading.Event().wait(0.01)
        writer.close()
    whole, thinned = table(runs[0]), table(runs[1])
    assert len(thinned) < 500 < len(whole) == 1200
    assert [bits(row) for row in thinned[-200:]] == expect(rows[-200:])
    for layer in (0, 1):
        want = total([row for row in whole if row[1] == layer])
        got = total([row for row in thinned if row[1] == layer])
        assert (*got[:6], *got[9:11]) == (*want[:6], *want[9:11])  # counts, min and max exactly
        assert got[6:9] == pytest.approx(want[6:9], rel=1e-12)
    assert RunReader(runs[1]).metadata == {"a": "b"}
    assert not list(runs[1].glob("*.thin"))
