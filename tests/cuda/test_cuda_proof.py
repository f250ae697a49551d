"""Kernels prove themselves before they are used; where one fails, a framework's operations give the same numbers."""

import warnings
from typing import Any

import numpy as np
import pytest
from deferred_rows import relu, same_rows, step_and_wait
from on_device import OnDevice, in_simulator, normal

import fastact
from fastact import ActivationMonitor
from fastact.cuda import proof
from fastact.cuda.choice import choice
from fastact.cuda.frameworks import ArrayFramework, TorchFramework
from fastact.cuda.layouts import COLUMNS, FLAT, LAYOUTS, RUNS

#: NumPy's warnings in the simulator's threads, where a device says nothing.
pytestmark = [pytest.mark.filterwarnings(f"ignore:{kind}:RuntimeWarning") for kind in ("overflow", "divide", "invalid")]
KINDS = ("sweep", "many", "record", "record neurons")


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Nothing is proven yet, nobody was warned, and NumPy stands in."""
    monkeypatch.setenv("FASTACT_GPU", "auto")
    monkeypatch.setattr(proof, "_proofs", {})
    monkeypatch.setattr(proof, "_warned", set())
    monkeypatch.setattr(proof, "framework", lambda: ArrayFramework(np))
    return monkeypatch


@in_simulator
def test_the_kernels_prove_themselves(fresh: pytest.MonkeyPatch) -> None:
    fresh.setattr(proof, "_SHAPES", {FLAT: (301, 1, 1), RUNS: (2, 3, 16), COLUMNS: (17, 5, 1)})
    found = proof.prove_all(0, ("float32",))
    assert [one.problem for one in found] == [""] * len(found)
    assert {one.kind for one in found} == set(KINDS)
    assert {one.layout for one in found} == {FLAT, RUNS, COLUMNS}
    assert proof.prove_all(0, ("float32",)) == found  # once


@in_simulator
def test_a_kernel_that_is_wrong_is_not_used(fresh: pytest.MonkeyPatch) -> None:
    """The number of zeros is off by one: it is found, said once, and what users see is right."""
    from fastact.cuda import sweep

    right = sweep.states
    fresh.setattr(sweep, "states", lambda rows, name: [(*s[:4], s[4] + 1, *s[5:]) for s in right(rows, name)])
    x = np.array([0.0, 1.0, 2.0], np.float32)
    with pytest.warns(RuntimeWarning, match="zeros .* instead of .* for 'rectified'.*fastact info --gpu.*numpy's own"):
        assert fastact.summarize(OnDevice(x)).zeros == 1
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="a kernel of fastact")
        assert fastact.summarize(OnDevice(x)).zeros == 1
        assert fastact.summarize(OnDevice(np.stack([x, x])), axis=1).zeros.tolist() == [2, 0, 0]  # by its own kernel
        both = fastact.summarize_many([OnDevice(x), OnDevice(x[1:])])
        assert [one.zeros for one in both] == [1, 0]
    problems = {(one.kind, one.layout.name): one.problem for one in proof._proofs.values()}
    assert problems["sweep", "flat"]
    assert problems["many", "flat"]
    assert not problems["sweep", "columns"]
    fresh.setenv("FASTACT_GPU", "native")
    assert fastact.summarize(OnDevice(x)).zeros == 2


@in_simulator
@pytest.mark.parametrize("error", [ValueError("no such instruction"), OSError("unknown error")])
def test_a_kernel_that_raises_is_not_used(fresh: pytest.MonkeyPatch, error: Exception) -> None:
    from fastact.cuda import recorder, sweep

    def fail(*_: Any, **__: Any) -> Any:
        raise error

    for module in (sweep, recorder):
        fresh.setattr(module, "_kernel", fail)
    x = relu(20, 6)
    with pytest.warns(RuntimeWarning, match=f"{type(error).__name__}: {error}"):
        got = fastact.summarize(OnDevice(x), axis=1)
    np.testing.assert_array_equal(got.zeros, fastact.summarize(x, axis=1).zeros)
    fresh.setattr(proof, "framework", lambda: None)
    with pytest.raises(type(error)):  # nothing stands in
        fastact.summarize(OnDevice(x), axis=1)


@in_simulator
@pytest.mark.parametrize("by", ["torch", "numpy"])
def test_rows_by_a_framework_are_those_of_the_host(fresh: pytest.MonkeyPatch, by: str) -> None:
    fresh.setenv("FASTACT_GPU", "torch")
    if by == "torch":
        torch = pytest.importorskip("torch")
        fresh.setattr(proof, "framework", lambda: TorchFramework(torch, on_host=True))
    with ActivationMonitor() as got, ActivationMonitor() as want:
        for step in range(4):
            for part in range(1 + step % 2):
                x = relu(30, 8, seed=10 * step + part)
                got.record("hidden", OnDevice(x), axis=1)
                want.record("hidden", x, axis=1)
                image = normal(3, 4, 5, seed=step)
                image[0, 0, 0] = np.nan
                got.record("image", OnDevice(image), axis=1)
                want.record("image", image, axis=1)
            flat = normal(7, seed=step)
            got.record("flat", OnDevice(flat))
            want.record("flat", flat)
            step_and_wait(got)
            step_and_wait(want)
        # Parts of one step with other neurons have the tensor alone in common.
        for width in (8, 5):
            got.record("hidden", OnDevice(relu(6, width)), axis=1)
            want.record("hidden", relu(6, width), axis=1)
        step_and_wait(got)
        step_and_wait(want)
        same_rows(got, want)
        assert got.failures == 0
        assert got._queue.deferred is not None
        assert not got._queue.deferred._devices  # no kernel was launched


@in_simulator
def test_rows_by_a_framework_are_waited_for_by_nobody(fresh: pytest.MonkeyPatch) -> None:
    fresh.setenv("FASTACT_GPU", "torch")
    arrived: list[bool] = []

    class Late(ArrayFramework):
        def to_host(self, a: Any) -> Any:
            here = super().to_host(a)
            here.done = lambda: bool(arrived)
            return here

    fresh.setattr(proof, "framework", lambda: Late(np))
    with ActivationMonitor() as monitor:
        try:
            for step in range(3):
                monitor.record("layer", OnDevice(relu(4, 4, seed=step)), axis=1)
                monitor.step()
            assert len(monitor._queue._finished) == 3
        finally:
            arrived.append(True)  # or closing would wait for ever
        monitor.diagnose()
        assert monitor.history["layer"].total == 3


@in_simulator
def test_a_graph_takes_no_framework(fresh: pytest.MonkeyPatch) -> None:
    fresh.setenv("FASTACT_GPU", "torch")
    fresh.setattr(ArrayFramework, "capturing", lambda _: True)
    with ActivationMonitor() as monitor:
        monitor.record("layer", OnDevice(normal(3)))
        with pytest.warns(RuntimeWarning, match="a CUDA graph was being captured"):
            step_and_wait(monitor)
        assert monitor.failures == 1


def test_who_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FASTACT_GPU", raising=False)
    assert choice() == "auto"
    for said in ("off", "torch", "Native "):
        monkeypatch.setenv("FASTACT_GPU", said)
        assert choice() == said.strip().lower()
    monkeypatch.setenv("FASTACT_GPU", "cuda")
    with pytest.raises(fastact.ArgumentValueError, match="FASTACT_GPU: got 'cuda', want one of auto, native"):
        choice()


def test_off_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastact.cuda import driver

    monkeypatch.setenv("FASTACT_GPU", "off")
    driver_says = getattr(driver.unusable, "__wrapped__", None)
    if driver_says is None:
        pytest.skip("the simulator's driver has no such switch")
    assert driver_says() == "FASTACT_GPU=off turns it off"


def test_nasty_data_is_nasty() -> None:
    """What the check runs on has NaN, Inf, zeros, both ends, and no type without."""
    for name in ("float32", "float16", "bfloat16", "float64"):
        data = proof.nasty(name, 400)
        whole = {what: fastact.summarize(_as(stored, name)) for what, stored in data.items()}
        assert whole["NaN and Inf"].nans == whole["NaN and Inf"].pos_infs == whole["NaN and Inf"].neg_infs == 1
        assert whole["all NaN"].nans == 400
        assert whole["zeros"].zeros == 400
        assert 0 < whole["smallest"].max < 1e-6
        assert whole["largest"].max > 1e4
        assert abs(whole["jump"].mean - 100) < 5
    assert proof.nasty("int8", 400)["whole range"].min() < -100
    assert set(proof.nasty("bool", 400)["whole range"].tolist()) == {0, 1}
    assert set(LAYOUTS) == set(proof._SHAPES)


def _as(stored: Any, name: str) -> Any:
    import ml_dtypes

    return stored.view(name if name != "bfloat16" else ml_dtypes.bfloat16)
