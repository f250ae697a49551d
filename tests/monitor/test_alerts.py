"""Findings that are told while a network trains."""

import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import row, watch

import fastact
from fastact import ActivationMonitor, Finding, FindingError
from fastact.monitor.alerts import Alerts

RNG = np.random.default_rng(0)


def train(monitor: ActivationMonitor, steps: int, dead: int) -> None:
    """Some steps with a layer of 16 neurons of which some are dead, and one after it that is not."""
    for _ in range(steps):
        x = np.maximum(RNG.standard_normal((64, 16)), 0)
        x[:, :dead] = 0
        monitor.record("act", x, axis=-1, kind="ReLU")
        monitor.record("out", RNG.standard_normal((64, 4)), axis=-1, kind="Linear")
        monitor.step()


def test_a_function_is_told_once_and_again_when_it_is_graver() -> None:
    told: list[Finding] = []
    with ActivationMonitor(on_finding=told.append, alert_severity="warning", alert_every=5) as monitor:
        train(monitor, 40, dead=5)
        assert told == []
        train(monitor, 40, dead=15)
        assert [(f.layer, f.condition, f.severity) for f in told] == [("act", "dead", "warning")]
        train(monitor, 40, dead=16)
        dead = [f for f in told if f.condition == "dead"]
        assert [f.severity for f in dead] == ["warning", "critical"]
        assert (dead[-1].first_step, dead[-1].consequence_of) == (40, None)


def test_less_than_asked_for_is_not_told() -> None:
    told: list[Finding] = []
    with ActivationMonitor(on_finding=told.append, alert_severity="critical") as monitor:
        train(monitor, 60, dead=15)
        assert monitor.diagnose().findings
    assert told == []


def test_what_follows_from_another_finding_is_not_told() -> None:
    told: list[Finding] = []
    with ActivationMonitor(on_finding=told.append) as monitor:
        for step in range(40):
            x = RNG.standard_normal((64, 8))
            if step > 20:
                x[0, 0] = np.nan
            for name in ("first", "second"):
                monitor.record(name, x, axis=-1, kind="Linear")
            monitor.step()
        followers = [f for f in monitor.diagnose().findings if f.consequence_of]
    assert [f.layer for f in told] == ["first"]
    assert [f.layer for f in followers] == ["second"]


def test_raise_ends_the_loop_and_keeps_the_step(tmp_path: Path) -> None:
    with ActivationMonitor(tmp_path / "run", on_finding="raise") as monitor:
        with pytest.raises(FindingError, match="act") as caught:
            train(monitor, 60, dead=16)
        assert caught.value.finding.condition == "dead"
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
        steps = monitor.current_step
        assert monitor.history["act"].total == steps
        train(monitor, 20, dead=16)  # it was told
    assert fastact.open_log(tmp_path / "run").to_table().num_rows == 2 * (steps + 20)


def test_closing_never_raises_a_finding() -> None:
    with ActivationMonitor(on_finding="raise", alert_every=30) as monitor:
        train(monitor, 29, dead=16)
        monitor.record("act", np.zeros((64, 16)), axis=-1)


def test_stop_asks_the_loop() -> None:
    with ActivationMonitor(on_finding="stop", every=2) as monitor:
        assert not monitor.should_stop
        train(monitor, 100, dead=16)
        assert monitor.should_stop
    assert not ActivationMonitor().should_stop


def test_log_warns_with_cause_and_remedies(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "fastact"), ActivationMonitor(on_finding="log") as monitor:
        train(monitor, 60, dead=16)
        (finding,) = monitor.diagnose().findings
    (record,) = caplog.records
    assert record.name == "fastact"
    assert finding.cause in record.message
    assert all(remedy in record.message for remedy in finding.remedies)


def test_an_error_of_the_function_reaches_the_loop() -> None:
    def refuse(finding: Finding) -> None:
        raise KeyError(finding.layer)

    with ActivationMonitor(on_finding=refuse) as monitor:
        with pytest.raises(KeyError, match="act"):
            train(monitor, 60, dead=16)
        train(monitor, 20, dead=16)


@pytest.mark.parametrize(
    ("options", "error", "word"),
    [
        ({"on_finding": "shout"}, ValueError, "on_finding"),
        ({"on_finding": 3}, TypeError, "on_finding"),
        ({"on_finding": "log", "alert_severity": "much"}, ValueError, "alert_severity"),
        ({"on_finding": "log", "alert_every": 0}, ValueError, "alert_every"),
        ({"on_finding": "log", "alert_every": 1.5}, TypeError, "alert_every"),
    ],
)
def test_what_is_refused(options: dict[str, Any], error: type[Exception], word: str) -> None:
    with pytest.raises(error, match=word) as caught:
        ActivationMonitor(**options)
    assert isinstance(caught.value, fastact.FastactError)


def test_what_is_accepted_and_what_does_no_harm_is_not_told() -> None:
    told: list[Finding] = []
    accept = {"a*": {"dead": "pruned on purpose"}}
    with ActivationMonitor(on_finding=told.append, alert_severity="warning", accept=accept) as monitor:
        train(monitor, 60, dead=16)
        report = monitor.diagnose()
    assert told == []
    assert [(each.finding.layer, each.reason) for each in report.accepted] == [("act", "pruned on purpose")]
    with ActivationMonitor(on_finding=told.append) as monitor:
        train(monitor, 60, dead=16)
    assert [f.layer for f in told] == ["act"]
    told.clear()
    with ActivationMonitor(on_finding=told.append, alert_severity="warning") as monitor:
        train(monitor, 60, dead=12)
        report = monitor.diagnose()
    assert told == []
    assert report.healthy
    assert [note.layers for note in report.notes] == [("act",)]
    assert {layer.status for layer in report.layers} == {"healthy"}


def test_of_layers_with_one_cause_the_gravest_is_told() -> None:
    told: list[Finding] = []
    alerts = Alerts(told.append, "critical", every=1)
    layers = {
        str(i): ("Tanh", [row(s, saturated=int(4096 * share), min=-1.0, max=1.0) for s in range(20)])
        for i, share in enumerate((0.6, 0.9, 0.9))
    }
    diagnoser = watch(layers | {"out": ("Linear", [row(s) for s in range(20)])})
    findings = diagnoser.diagnose().findings
    assert [(f.severity, f.consequence_of) for f in findings][:2] == [("warning", None), ("critical", "0")]
    alerts.look(diagnoser)
    alerts.look(diagnoser)
    assert [(f.layer, f.severity) for f in told] == [("1", "critical")]


def test_a_diagnosis_that_fails_is_counted_and_ends_no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise ZeroDivisionError("in a rule")

    monkeypatch.setattr("fastact.diagnosis.diagnoser.Diagnoser.diagnose", fail)
    monitor = ActivationMonitor(on_finding="raise", alert_every=1)
    with pytest.warns(RuntimeWarning, match="could not diagnose and continues without it .*in a rule"):
        monitor.step()
    monitor.step()
    assert (monitor.current_step, monitor.failures) == (2, 2)
    with pytest.raises(ZeroDivisionError):
        ActivationMonitor(on_finding="raise", alert_every=1, strict=True).step()
