"""A new rule, added by the steps that fastact/README.md gives and by nothing else, is everywhere that rules are."""

import json
import shutil
from pathlib import Path
from typing import Any, ClassVar

import pytest
from jsonschema import Draft202012Validator
from synthetic import row, watch
from typer.testing import CliRunner

import fastact
from fastact import pages
from fastact.cli.app import app
from fastact.diagnosis import layer_types, rules
from fastact.diagnosis.finding import Evidence, Finding
from fastact.diagnosis.network import LayerView, Network
from fastact.diagnosis.report import Diagnosis
from fastact.diagnosis.row_conditions import Cascade, Cells, Row, RowCondition
from fastact.diagnosis.rule import Outcome, Rule, not_after
from fastact.diagnosis.schema import report_schema
from fastact.diagnosis.thresholds import CommonThresholds, share_field
from fastact.fields import COLUMN
from fastact.history import LayerInfo
from fastact.text import percent

# --- step 1: the rule's own file


class NegativeThresholds(CommonThresholds):
    """What `Negative` compares with."""

    negative_share: float = share_field(0.9, "share of the range; negative: so much of it is below zero. Chosen")


class Negative(Rule[NegativeThresholds]):
    """A layer whose outputs are mostly negative.

    Formula:
        -min / (max - min) > negative_share in each of the last `min_rows` rows.

    Source:
        Chosen, for a test.
    """

    condition = "negative"
    adjective = "below zero"
    judges = layer_types.OUTPUTS | {layer_types.GRADIENT}
    explains: ClassVar = {"dead": not_after}
    explained_by: ClassVar = {"saturated": not_after}

    def row_conditions(self, info: LayerInfo, first: Row, thresholds: NegativeThresholds) -> tuple[Cascade, ...]:
        del info, first
        low, high, least = COLUMN["min"], COLUMN["max"], thresholds.negative_share

        def holds(cells: Cells) -> Any:
            return -cells[low] > least * (cells[high] - cells[low])

        return (Cascade((RowCondition("negative", holds),)),)

    def check(self, layer: LayerView, network: Network, thresholds: NegativeThresholds) -> Finding | Outcome:
        del network
        streak = layer.streaks.get("negative")
        if streak is None or streak.rows < thresholds.min_rows:
            return Outcome.NOT_FOUND
        last = layer.rows[-1]
        part = float(-last["min"] / (last["max"] - last["min"]))
        return Finding(
            layer=layer.info.name,
            condition=self.condition,
            severity="serious",
            first_step=streak.step,
            evidence=Evidence(negative_share=part),
            message=f"{layer.name} has been below zero since step {streak.step}: {percent(part)} of its range is.",
            cause="Its biases are negative.",
            remedies=("start from biases of zero",),
        )


# --- step 2: two lines in rules/__init__.py


class Thresholds(NegativeThresholds, rules.Thresholds):
    """All thresholds, the new rule's too."""


@pytest.fixture(autouse=True)
def added(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(rules, "RULES", (Negative(), *rules.RULES))
    # Step 3: its page.
    folder = tmp_path / "pages"
    shutil.copytree(Path(pages.__file__).parent, folder)
    (folder / "conditions" / "negative.md").write_text("# negative\n\nMost outputs are below zero.\n", "utf-8")
    monkeypatch.setattr(pages, "_folder", lambda name: folder / name)


def diagnosis(**limits: float) -> Diagnosis:
    """A layer that goes below zero at step 7, and one after it that has died since step 11."""
    steps = range(40)
    below = [row(step, min=-9.0, max=0.5 if step >= 7 else 9.0) for step in steps]
    dead = [row(step, dead_neurons=60 if step >= 30 else 0) for step in steps]
    layers = {"0": ("Linear", [row(step) for step in steps]), "1": ("Linear", below), "2": ("ReLU", dead)}
    return watch(layers, thresholds=Thresholds(**limits)).diagnose()  # type: ignore[arg-type]


def test_it_is_found_since_its_onset_and_explains_what_it_says_it_explains() -> None:
    first, second = diagnosis().findings
    assert (first.layer, first.condition, first.severity, first.first_step) == ("1", "negative", "serious", 7)
    assert (second.condition, second.consequence_of) == ("dead", "1")
    steps = range(12)
    both = [row(step, saturated=4000, min=-1.0, max=0.0) for step in steps]
    findings = watch({"a": ("Tanh", both)}, thresholds=Thresholds()).diagnose().findings
    assert [(f.condition, f.consequence_of) for f in findings] == [("saturated", None), ("negative", "a")]
    (gradient,) = watch({"g": ("Gradient", both)}, thresholds=Thresholds()).diagnose().findings
    assert gradient.condition == "negative"


def test_its_threshold_is_one_of_all() -> None:
    assert [finding.condition for finding in diagnosis(negative_share=0.99).findings] == ["dead"]
    assert Thresholds.describe()["negative_share"].startswith("share of the range (default 0.9); negative: ")
    with pytest.raises(fastact.ArgumentValueError, match="negative_share: got 2"):
        Thresholds(negative_share=2.0)
    assert Thresholds(min_rows=7).dead_window == 20


def test_it_is_in_the_report_and_in_the_json() -> None:
    found = diagnosis()
    text = str(found)
    assert text.startswith("1 (Linear) has been below zero since step 7: 95% of its range is. Downstream: 2 (dead).\n")
    assert "below zero (serious)" in text
    assert text.endswith("More: fastact explain negative")
    schema = report_schema()
    assert "negative" in schema["$defs"]["Finding"]["properties"]["condition"]["enum"]
    validator: Any = Draft202012Validator(schema)
    validator.validate(json.loads(found.to_json()))
    assert found.findings[0].page == "fastact/pages/conditions/negative.md"


def test_its_page_is_explained() -> None:
    assert "negative" in pages.names("conditions")
    done = CliRunner().invoke(app, ["explain", "negative"])
    assert done.exit_code == 0
    assert "Most outputs are below zero." in done.stdout
