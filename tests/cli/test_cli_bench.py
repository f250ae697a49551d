"""`fastact bench` and `fastact info`."""

import json
import re
from typing import Any

import numpy as np
import pytest
from command_line import call, complaint

import fastact


def test_info_tells_versions_threads_and_the_gpu() -> None:
    out, _ = call("info")
    for line in (fastact.__version__, np.__version__, "threads", "gpu"):
        assert line in out


def test_bench_times_what_is_right() -> None:
    rows = json.loads(call("bench", "-n", "1000", "-n", "20", "--rounds", "1", "--json")[0])
    assert [(row["elements"], row["nbytes"], row["wrong"]) for row in rows] == [(1000, 4000, []), (20, 80, [])]
    for row in rows:
        assert set(row["seconds"]) == set(row["ratios"]) == {"fastact", "numpy", "torch", "read"}
        assert min(*row["seconds"].values(), *row["ratios"].values()) > 0
    table = call("bench", "-n", "1000", "--rounds", "1", "--dtype", "float16")[0]
    assert re.search(r"1e3 .* float16 .*s ", table)
    assert "want one of float32" in complaint("bench", "--dtype", "int8")


def test_bench_times_nothing_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastact.benchmark import peers, sweeps

    monkeypatch.setattr("fastact.benchmark.turns.load_warning", lambda: (0.0, None))
    monkeypatch.setattr(sweeps, "summarize", lambda x: fastact.summarize(x[1:]))
    assert "fastact: zeros is" in complaint("bench", "-n", "1000")
    monkeypatch.setattr(sweeps, "summarize", fastact.summarize)
    right = peers.numpy_numbers

    def coarse(*arguments: Any) -> tuple[Any, ...]:
        nonzero, mean, *rest = right(*arguments)
        return (nonzero, mean + 0.1, *rest)

    monkeypatch.setattr(sweeps, "numpy_numbers", coarse)
    assert "†" in call("bench", "-n", "1000", "--rounds", "1")[0]
