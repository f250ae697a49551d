"""What `fastact diagnose --json` puts out is what its schema says, and the schema tells wrong from right."""

import dataclasses
import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError
from synthetic import row, watch
from typer.testing import CliRunner

from fastact.cli.app import app
from fastact.diagnosis.diagnoser import Diagnoser
from fastact.diagnosis.report import Accepted, Diagnosis, Note
from fastact.diagnosis.rules import RULES
from fastact.diagnosis.schema import report_schema
from fastact.history import LayerInfo

SCHEMA = report_schema()
VALIDATOR: Any = Draft202012Validator(SCHEMA)


def healthy() -> Diagnosis:
    return watch({"a": ("Linear", [row(step) for step in range(40)])}).diagnose()


def sick() -> Diagnosis:
    """Culprits, consequences, evidence with text in it, a layer without a finite element."""
    broken = {"nans": 4096, "mean": float("nan"), "std": float("nan"), "within_std": float("nan")}
    rows = [row(step, **(broken if step > 20 else {"dead_neurons": 40})) for step in range(40)]
    faint = [row(step, within_std=1e-9) for step in range(40)]
    return watch({"a": ("ReLU", rows), "b": ("Linear", rows), "c": ("Linear", faint)}).diagnose()


def gradient() -> Diagnosis:
    rows = [row(step, mean=0.0, std=10.0**step) for step in range(12)]
    return watch({"a": ("Linear", [row(step) for step in range(12)]), "a.grad": ("Gradient", rows)}).diagnose()


def preset() -> Diagnosis:
    return watch({"a": ("ReLU", [row(step, zeros=4096) for step in range(40)])}).diagnose("naive")


def unseen() -> Diagnosis:
    """A layer without rows."""
    diagnoser = Diagnoser()
    diagnoser.add(LayerInfo("a", 0))
    return diagnoser.diagnose()


def all_of_it() -> Diagnosis:
    """Findings, notes, what is accepted (one of them a note), what is not seen and what is accepted in vain."""
    rows = [row(step, saturated=4000 if step > 50 else 0, min=-1.0, max=1.0) for step in range(90)]
    layers = {"a": ("Tanh", [row(step, saturated=4000, min=-1.0, max=1.0) for step in range(90)]), "b": ("Tanh", rows)}
    layers["c"] = ("Linear", [row(step) for step in range(90)])
    report = watch(layers, accept={"a": {"saturated": "a gate"}, "x": "dead"}).diagnose()
    (each,) = report.accepted
    harmless = Accepted(dataclasses.replace(each.finding, severity="note"), "")
    note = Note("dead", ("a", "b"), 3, "1 of 64 neurons never fires.")
    accepted = (*report.accepted, harmless)
    return dataclasses.replace(report, notes=(note,), accepted=accepted, unseen=(("d", "never called"),))


def test_the_schema_is_one_and_describes_every_field() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    for kind in SCHEMA["$defs"].values():
        assert sorted(kind["properties"]) == sorted(kind["required"])
        assert all(item["description"] for item in kind["properties"].values())
    assert SCHEMA["$defs"]["Finding"]["properties"]["condition"]["enum"] == [rule.condition for rule in RULES]


@pytest.mark.parametrize("make", [healthy, sick, gradient, preset, lambda: Diagnosis((), ()), unseen, all_of_it])
def test_reports_are_as_the_schema_says(make: Any) -> None:
    report = json.loads(make().to_json())
    VALIDATOR.validate(report)
    for finding in report["findings"]:
        assert sorted(finding) == sorted(SCHEMA["$defs"]["Finding"]["required"])
    for accepted in report["accepted"]:
        assert sorted(accepted) == sorted(SCHEMA["$defs"]["Accepted"]["required"])
    for layer in report["layers"]:
        assert sorted(layer) == sorted(SCHEMA["$defs"]["LayerHealth"]["required"])


def test_the_reports_that_are_tried_have_something_in_them() -> None:
    assert [bool(make().findings) for make in (healthy, sick, gradient, preset)] == [False, True, True, True]


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("findings", 0, "severity"), "grave"),
        (("findings", 0, "condition"), "odd"),
        (("findings", 0, "first_step"), 1.5),
        (("findings", 0, "remedies"), "one"),
        (("findings", 0, "evidence"), {"ratio": None}),
        (("layers", 0, "mean"), "nan"),
        (("layers", 0, "status"), ""),
        (("healthy",), None),
    ],
)
def test_what_is_wrong_is_refused(where: tuple[Any, ...], value: Any) -> None:
    report = json.loads(sick().to_json())
    place = report
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = value
    with pytest.raises(ValidationError):
        VALIDATOR.validate(report)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("findings", 0, "severity"), "note"),
        (("findings", 0, "confidence"), "sure"),
        (("findings", 0, "because"), "one"),
        (("accepted", 0, "reason"), None),
        (("accepted", 0, "severity"), "grave"),
        (("notes", 0, "layers"), "a"),
        (("notes", 0, "condition"), "odd"),
        (("unseen",), {"d": 3}),
        (("accepted_in_vain",), [3]),
    ],
)
def test_what_is_wrong_beside_the_findings_is_refused(where: tuple[Any, ...], value: Any) -> None:
    report = json.loads(all_of_it().to_json())
    VALIDATOR.validate(report)
    place = report
    for key in where[:-1]:
        place = place[key]
    assert place[where[-1]] != value
    place[where[-1]] = value
    with pytest.raises(ValidationError):
        VALIDATOR.validate(report)


def test_the_command_prints_it_without_a_run() -> None:
    done = CliRunner().invoke(app, ["diagnose", "--json-schema"])
    assert (done.exit_code, json.loads(done.stdout)) == (0, SCHEMA)
