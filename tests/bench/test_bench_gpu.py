"""The GPU's benchmark, all of it that runs on the CPU: so that nothing but the device is new on a device."""

import io
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

import fastact
from bench import RESULTS
from bench.gpu import clock, deferred, sweep, train
from bench.gpu.sweep import Data
from bench.run import shown
from bench.tables import binary
from fastact.benchmark import peers


@pytest.fixture(autouse=True)
def _not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes ten seconds and a C++ compiler."""
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)


def printed(benchmark: Any, results: dict[str, Any]) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(shown(benchmark, {**results, "load_before": 0.0}))
    return console.export_text()


@pytest.mark.parametrize(("shape", "axis"), [((9999,), None), ((60, 8, 5, 7), 1), ((60, 40, 9), -1)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_truth_is_that_of_the_other_benchmarks(
    shape: tuple[int, ...], axis: int | None, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "CHUNK", 1000)
    data = Data.make(shape, dtype, axis, "cpu")
    want = peers.truth(data.x.float().numpy(), axis, sweep.LIMIT)
    assert np.sum(want["zeros"]) >= data.x.numel() // 11
    for name, value in sweep.truth(data).items():
        np.testing.assert_allclose(value, np.broadcast_to(want[name], value.shape), rtol=1e-12)
    for got in (
        peers.torch_numbers(data.x, data.others, sweep.LIMIT),
        sweep.cupy_numbers(np, data.x.float().numpy(), data.others),
    ):
        for name, value in sweep._named(data, got).items():
            np.testing.assert_allclose(value, want[name], rtol=1e-2, atol=1e-2)


def test_whole_tensors_and_neurons_and_their_tables() -> None:
    steps: list[str] = []
    whole = sweep.whole("cpu", [(1 << 10, "float32"), (1 << 14, "bfloat16")], 3, steps.append)
    assert [(row["bytes"], row["dtype"], row["shape"]) for row in whole["rows"]] == [
        (1024, "float32", [256]),
        (16384, "bfloat16", [8192]),
    ]
    contestants = {"fastact", "fallback", "torch", "compile", "copy"}
    for row in whole["rows"]:
        assert set(row["seconds"]) == set(row["host"]) == set(row["ratios"]) == contestants
        assert row["ratios"]["fastact"] == 1.0
        assert all(seconds > 0 for seconds in row["seconds"].values())
    text = printed(sweep.WHOLE, whole)
    assert "1 KiB" in text
    assert "16 KiB" in text
    neurons = sweep.neurons("cpu", [((6, 5, 2, 2), 1)], 3, steps.append)
    assert len(neurons["rows"]) == 2
    assert "(6, 5, 2, 2)" in printed(sweep.NEURONS, neurons)
    assert len(steps) == 4


def test_on_a_device_the_kernel_is_what_others_are_compared_with() -> None:
    row = {
        "shape": [1 << 30], "axis": None, "dtype": "float32", "bytes": 1 << 32, "off": {"torch": 0.1},
        "seconds": {"fastact": 2.1e-3, "kernel": 2e-3, "read": 1.8e-3, "copy": 4e-3, "torch": 20e-3},
        "host": {"fastact": 2.2e-3}, "ratios": {"read": 0.9, "torch": 10.0},
    }  # fmt: skip
    (cells,) = sweep.WHOLE.table({"rows": [row]}).rows
    assert cells == ["4 GiB", "float32", "2.20 ms", "2.00 ms", "2147", "2386", "0.90", "2147", "-", "10†", "-", "-"]


@pytest.mark.parametrize(("name", "fatal"), [("zeros", True), ("std", False)])
def test_a_wrong_answer_is_not_timed(name: str, fatal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*arguments: Any) -> Any:
        nonzero, var, *rest = peers.torch_numbers(*arguments)
        return (nonzero + 1, var, *rest) if name == "zeros" else (nonzero, var * 2, *rest)

    monkeypatch.setattr(sweep, "torch_numbers", wrong)
    data = Data.make((1000,), "float32", None, "cpu")
    if fatal:
        with pytest.raises(SystemExit, match="torch: zeros"):
            sweep.contestants(data)
    else:
        assert set(sweep.contestants(data)[1]) == {"torch", "compile"}
    monkeypatch.undo()
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    monkeypatch.setattr(fastact, "summarize", lambda x, axis: wrong(x, axis, sweep.LIMIT))
    with pytest.raises(SystemExit, match=f"fastact: {name}"):
        sweep.contestants(data)


def test_a_training_and_its_table() -> None:
    case = train.gpt("cpu", width=64, layers=1, batch=1, positions=8)
    results = train.trained(case, "cpu", 2, 1)
    assert [row["name"] for row in results["rows"]] == [
        *list(train.ASKED)[3:],
        "nothing, again",
        *list(train.ASKED)[1:3],
        "nothing",
    ]
    assert results["rows"][-1]["ratio"] == 1.0
    assert results["parameters"] == sum(p.numel() for p in case.build().parameters())
    text = printed(train.TRAIN, results)
    assert "GPT 1 x 64, 1 x 8 tokens" in text
    assert "fastact, every 10th" in text


def test_deferred_rows_and_rows_at_once() -> None:
    results = deferred.ablated(train.gpt("cpu", width=64, layers=1, batch=1, positions=8), "cpu", 2, 1)
    assert [row["name"] for row in results["rows"]] == [*list(deferred.ASKED)[1:], "nothing"]
    assert "rows at once" in printed(deferred.DEFERRED, results)


def test_the_transformer_has_some_100_million_parameters() -> None:
    with torch.device("meta"):
        model = train.gpt("meta").build()
    assert 90e6 < sum(p.numel() for p in model.parameters()) < 110e6
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}


def test_what_record_costs_the_host() -> None:
    results = train.recorded("cpu", (2, 3, 16), 2)
    assert all(row["host"] > 0 for row in results["rows"])
    assert "record per neuron" in printed(train.RECORD, results)


def test_events_time_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            self.at = time.perf_counter()

        def elapsed_time(self, other: "Event") -> float:
            return (other.at - self.at) * 1000

    waited: list[int] = []
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waited.append(1))
    times = clock.Clock("cuda").time(lambda: time.sleep(0.01), 3)
    assert len(waited) == 2
    assert min(times) >= 0.01
    properties = type("Properties", (), {"name": "H100", "total_memory": 80, "multi_processor_count": 132})()
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    assert clock.about("cuda")["processors"] == 132


def test_sizes_as_text() -> None:
    assert [binary(1 << power) for power in (3, 10, 18, 20, 30, 32)] == [
        "8 B",
        "1 KiB",
        "256 KiB",
        "1 MiB",
        "1 GiB",
        "4 GiB",
    ]


@pytest.mark.e2e
def test_without_a_gpu_it_says_so_and_writes_nothing() -> None:
    if clock.missing() is None:
        pytest.skip("there is a GPU")
    before = {path: path.stat().st_mtime_ns for path in RESULTS.iterdir()}
    done = subprocess.run(
        [sys.executable, "-m", "bench.gpu", "--quick"],
        capture_output=True,
        text=True,
        cwd=RESULTS.parent.parent,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("python -m bench.gpu: nothing measured: ")
    assert done.stdout == ""
    assert {path: path.stat().st_mtime_ns for path in RESULTS.iterdir()} == before
