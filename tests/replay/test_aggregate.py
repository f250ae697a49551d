"""Any range of a log aggregates as if it had been swept at once."""

import math
from pathlib import Path
from typing import Any

import pytest
from replay_runs import random_rows, write

import fastact
from fastact.fields import STATE
from fastact.replay.log import open_log


@pytest.mark.parametrize("by", ["layer", "step", "rank", ("step", "layer"), ["rank", "layer"]])
def test_any_range_aggregates_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: Any) -> None:
    monkeypatch.setattr("fastact.replay.merge._PART", 30)
    monkeypatch.setattr("fastact.replay.merge._STATS", 7)
    ranks = [random_rows(seed, range(40)) for seed in range(2)]
    for rank, rows in enumerate(ranks):
        write(tmp_path / f"rank-{rank:05d}", rows, batch_rows=16)
    log = open_log(tmp_path)
    got = log.aggregate(by, from_step=5, to_step=30, layers=["head", "body.relu"])
    names = [by] if isinstance(by, str) else by
    apart: dict[Any, list[Any]] = {}
    for record in log.replay(from_step=5, to_step=30, layers=["head", "body.relu"]):
        key = tuple(getattr(record, name) for name in names)
        apart.setdefault(key[0] if isinstance(by, str) else key, []).append(record.stats)
    assert set(got) == set(apart)
    for key, parts in apart.items():
        want = fastact.merge(parts)
        for field in STATE:
            exact = field.dtype == "int64" or field.name in ("min", "max")
            value = getattr(want, field.name)
            expected = value if exact else pytest.approx(value, rel=1e-12, nan_ok=True)
            assert getattr(got[key], field.name) == expected or (math.isnan(value) and exact), field.name
    assert log.aggregate("rank", ranks=1).keys() == {1}
    assert log.aggregate(by, from_step=99) == {}
