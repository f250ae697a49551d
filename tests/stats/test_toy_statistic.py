"""A derived statistic is one property of `Statistics`: every class of stats has it then, documented and read-only."""

import copy
from typing import Any

import numpy as np
import pytest

import fastact
from fastact.fields import STATE
from fastact.stats.activation import wrap_deferred
from fastact.stats.statistics import Statistics

X = np.array([[0.0, 2.0], [-1.0, 7.0], [3.0, np.nan]])


class _Here:
    """A state that has come."""

    done = True

    def __init__(self, state: Any) -> None:
        self._state = state

    def wait(self) -> Any:
        return self._state


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Declares a statistic as `stats/statistics.py` does, by a property alone."""

    def spread(self: Statistics[Any, Any, Any]) -> Any:
        """max - min of the finite elements, in units of std; NaN where std is 0."""
        return self._ratio(self.max - self.min, self.std)

    monkeypatch.setattr(Statistics, "spread", property(spread), raising=False)


@pytest.mark.usefixtures("toy")
def test_a_derived_statistic_is_one_property() -> None:
    whole: Any = fastact.summarize(X)
    assert whole.spread == 8.0 / whole.std
    assert np.isnan(fastact.summarize(np.ones(3)).spread)  # type: ignore[attr-defined]
    neurons: Any = fastact.summarize(X, axis=-1)
    assert neurons.spread.tolist() == (np.array([4.0, 5.0]) / neurons.std).tolist()
    assert neurons.total.spread == whole.spread
    parts: Any = fastact.merge([fastact.summarize(X[:1]), fastact.summarize(X[1:])])
    detailed: Any = fastact.summarize(X, extras="shape")
    deferred: Any = wrap_deferred(_Here(whole._state), whole._bounds)
    for other in (parts, detailed, deferred, copy.copy(deferred)):
        assert other.spread == pytest.approx(whole.spread, rel=1e-15)
    with pytest.raises(AttributeError, match="immutable"):
        whole.spread = 1.0
    assert "spread" in dir(whole)


def test_every_number_of_the_state_is_a_statistic() -> None:
    """What `fields.STATE` declares is read by a property of its name, from its own place."""
    numbers = tuple(range(10, 10 + len(STATE)))
    stats = fastact.ActivationStats.from_state(numbers)
    assert [getattr(stats, field.name) for field in STATE] == list(numbers)
    plain = stats.to_dict()
    assert {field.name: plain[field.name] for field in STATE} == {
        field.name: number for field, number in zip(STATE, numbers, strict=True)
    }
    neurons = fastact.summarize(np.arange(6.0).reshape(2, 3), axis=-1)
    for field in STATE:
        values = getattr(neurons, field.name)
        assert values.shape == (3,)
        assert values.dtype == (np.int64 if field.dtype == "int64" else np.float64)
