"""What a monitor says of what is most likely a mistake: once, and at the caller's line."""

import copy
import pickle
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import fastact
from fastact.errors import ArgumentTypeError, ArgumentValueError, FastactError

X = np.random.default_rng(0).standard_normal((16, 8)).astype(np.float32)


@contextmanager
def told() -> Iterator[list[warnings.WarningMessage]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


@pytest.mark.parametrize("written", ["Tanh", "tanh", "TANH", "tan_h"])
def test_types_are_known_whatever_their_case(written: str) -> None:
    with fastact.ActivationMonitor() as monitor:
        for _ in range(10):
            monitor.record("a", np.sign(X), axis=-1, kind=written)
            monitor.step()
        assert monitor.history["a"].info.layer_type == "Tanh"
        assert [finding.condition for finding in monitor.diagnose().findings] == ["saturated"]


def test_an_unknown_type_is_told_once_at_the_callers_line() -> None:
    with told() as caught, fastact.ActivationMonitor() as monitor:
        for name in "abc":
            monitor.record(name, X, layer_type="reluu")
        monitor.record("d", X, layer_type="MyBlock")
        monitor.record("e", X, layer_type="leaky_relu")
        monitor.record("f", X, layer_type="Conv2d")
        monitor.step()
    (warning,) = caught
    assert "'reluu'" in str(warning.message)
    assert "'ReLU' is one" in str(warning.message)
    assert warning.filename == __file__


def test_the_axis_of_the_batch_is_noticed_where_batches_differ() -> None:
    with told() as caught, fastact.ActivationMonitor() as monitor:
        for rows in (16, 16, 7, 16):
            monitor.record("good", X[:rows], axis=-1)
            monitor.record("bad", X[:rows], axis=0)
            monitor.step()
    (warning,) = caught
    assert "'bad' has 7 neurons along axis 0 where it had 16" in str(warning.message)
    assert warning.filename == __file__


def test_a_forgotten_step_is_told() -> None:
    with told() as caught, fastact.ActivationMonitor() as monitor:
        for _ in range(10):
            monitor.record("a", X)
    assert [str(each.message)[:43] for each in caught] == ["fastact: monitor.step() was never called: 1"]
    with told() as caught, fastact.ActivationMonitor() as monitor:  # looked at by hand; and many parts of one step
        monitor.record("a", X)
    with told() as more, fastact.ActivationMonitor() as monitor:
        for _ in range(50):
            monitor.record("a", X)
        monitor.step()
    assert caught == more == []


def test_a_copy_is_the_same_monitor_and_a_pickle_is_refused(tmp_path: Path) -> None:
    with fastact.ActivationMonitor(tmp_path) as monitor:
        held = copy.deepcopy({"monitor": monitor, "list": [1]})
        assert held["monitor"] is monitor is copy.copy(monitor)
        with pytest.raises(FastactError, match="cannot be pickled: it holds its run's log"):
            pickle.dumps(monitor)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"alert_every": 0}, ArgumentValueError),
        ({"alert_every": "1"}, ArgumentTypeError),
        ({"alert_severity": "bad"}, ArgumentValueError),
    ],
)
def test_arguments_are_checked_at_once(arguments: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(arguments))):
        fastact.ActivationMonitor(**arguments)  # type: ignore[arg-type]


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    with fastact.ActivationMonitor(tmp_path) as monitor:
        with pytest.raises(ArgumentTypeError, match="dtype: got int"):
            monitor.record("a", X, dtype=3)  # type: ignore[arg-type]
        monitor.record("a", X)
        monitor.step()
    with pytest.raises(ArgumentTypeError, match="by: got int"):
        fastact.open_log(tmp_path).aggregate(3)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="state: got NoneType"):
        fastact.ActivationStats.from_state(None)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="zero_tol: got array"):
        fastact.summarize(X, zero_tol=np.zeros(3))  # type: ignore[call-overload]


def test_what_is_no_buffer_is_told_what_to_give() -> None:
    with pytest.raises(ArgumentTypeError, match=r"x: got None .a layer, or a function, that returned nothing"):
        fastact.summarize(None)
    with pytest.raises(ArgumentTypeError, match=r"x: got a dict .'logits', 'loss'.: give one of its values"):
        fastact.summarize({"logits": X, "loss": X})


def test_failures_are_told_at_the_callers_line() -> None:
    def fail(step: int, rows: object) -> None:
        raise ValueError(f"no room for {step}")

    class Full:
        write = staticmethod(fail)

        def close(self) -> None:
            """Nothing to close."""

    with told() as caught, fastact.ActivationMonitor() as monitor:
        monitor.listen(Full())
        for _ in range(3):
            monitor.record("a", X)
            monitor.step()
    assert [each.filename for each in caught] == [__file__]
