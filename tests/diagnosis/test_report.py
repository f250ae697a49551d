"""What a person reads: one sentence first, the table, causes and remedies; and nothing that a name smuggles in."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from synthetic import row, watch

from fastact.diagnosis.finding import Evidence, Finding
from fastact.diagnosis.report import Diagnosis, render_rich, render_text, sentence
from fastact.text import number, percent, shown


def sick(name: str = "encoder.3") -> Diagnosis:
    """A tanh that saturates at step 120, and two layers whose signal vanishes because of it."""
    steps = range(150)
    tanh = [row(s, saturated=2500 if s >= 120 else 0, min=-1.0, max=1.0, mean=1e-6) for s in steps]
    faint = [row(s, within_std=1e-6 if s >= 120 else 0.5) for s in steps]
    layers = {"encoder.2": ("Linear", [row(s) for s in steps]), name: ("Tanh", tanh)}
    layers |= {"encoder.4": ("Linear", faint), "head": ("Linear", faint)}
    return watch(layers).diagnose()


def on_terminal(diagnosis: Diagnosis, width: int = 200) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, force_terminal=False).print(render_rich(diagnosis))
    return stream.getvalue()


def test_it_opens_with_a_sentence_that_a_person_would_say() -> None:
    text = str(sick())
    assert text.splitlines()[0] == sentence(sick())
    assert text.startswith(
        "encoder.3 (Tanh) has been saturated since step 120: 61% of its outputs are beyond ±0.99. "
        "Downstream: encoder.4, head (vanishing). Possible cause: "
    )
    assert "Try: use ReLU" in text.splitlines()[0]


def test_the_table_and_the_findings_are_in_both_forms() -> None:
    diagnosis = sick()
    for text in (render_text(diagnosis), on_terminal(diagnosis)):
        lines = [line.split() for line in text.splitlines()]
        assert ["layer", "type", "mean", "std", "dead", "saturated", "status"] in lines
        assert ["encoder.3", "Tanh", "1e-06", "1", "0%", "61%", "saturated", "(warning)"] in lines
        assert ["encoder.2", "Linear", "0.1", "1", "0%", "-", "healthy"] in lines
        assert "1. [warning] encoder.3: see above." in text
        assert "2. [" not in text  # consequences are folded into their culprit


def test_nothing_is_said_twice() -> None:
    def flat(since: int) -> list[Any]:
        return [row(step, saturated=4000 if step >= since else 0, min=-1.0, max=1.0) for step in range(50)]

    broken = [row(step, nans=3 * (step >= 40)) for step in range(50)]
    # Layers that share an onset are one finding; these have a cause in common, each since a time of its own.
    layers = {str(i): ("Tanh", flat(10 + 10 * i)) for i in range(3)} | {"loss": ("", broken), "out": ("Linear", broken)}
    diagnosis = watch(layers).diagnose()
    assert [f.condition for f in diagnosis.culprits] == ["saturated"] * 3 + ["non_finite"]
    for text in (render_text(diagnosis), on_terminal(diagnosis, 2000)):
        for culprit in diagnosis.culprits:
            for part in (culprit.message, culprit.cause, *culprit.remedies):
                assert text.count(part) == 1, part
        assert "The same in out." in text
        heads = [line.split("]")[0] for line in text.splitlines() if line[1:4] == ". ["]
        assert heads == ["1. [critical", "2. [critical", "3. [critical", "4. [critical"]
        assert text.count("   Possible cause:") == text.count("   Try:") == 1


def test_healthy_unknown_and_empty() -> None:
    healthy = watch({"a": ("ReLU", [row(s) for s in range(9)]), "b": ("ReLU", [row(0)])}).diagnose()
    assert sentence(healthy) == "No problems found in 1 layer, over steps 0 to 8; not enough data yet for 1 more."
    assert render_text(Diagnosis((), ())) == "Not enough data yet to judge any layer."
    assert on_terminal(Diagnosis((), ())).strip() == "Not enough data yet to judge any layer."


def test_long_lists_are_cut() -> None:
    rows = [row(step, within_std=1e-9) for step in range(9)]
    layers = {"0": ("Linear", [row(step) for step in range(9)])} | {str(i): ("Linear", rows) for i in range(1, 30)}
    assert "The same in 28 more layers: 2, 3, 4 and 25 more." in sentence(watch(layers).diagnose())


@pytest.mark.parametrize(
    "name",
    [
        "\x1b[2J\x1b]0;owned\x07",
        "a\nb\r\n1. [critical] fake",
        "[bold red]markup[/] [/x]",
        "\u202eevil",
        "\ud800",
        "x" * 10**6,
    ],
)
def test_hostile_names_are_shown_harmless(name: str) -> None:
    diagnosis = sick(name)
    plain = sick()
    for text, before in ((render_text(diagnosis), render_text(plain)), (on_terminal(diagnosis), on_terminal(plain))):
        assert all(sign.isprintable() for line in text.split("\n") for sign in line)
        text.encode("utf-8")
        assert len(text) < len(before) + 1000
    assert render_text(diagnosis).count("\n") == render_text(plain).count("\n")
    if "[" in name and name.isprintable():
        assert name in render_text(diagnosis)
        assert name in on_terminal(diagnosis)
    assert json.loads(diagnosis.to_json())["findings"][0]["layer"] == name  # values keep the name as it is


def test_json_holds_everything_that_the_values_hold() -> None:
    value = json.loads(sick().to_json(indent=1))
    assert list(value) == [
        "healthy", "findings", "layers", "notes", "accepted", "unseen", "accepted_in_vain"]  # fmt: skip
    first = value["findings"][0]
    assert (first["layer"], first["condition"], first["first_step"], first["consequence_of"]) == (
        "encoder.3", "saturated", 120, None)  # fmt: skip
    assert first["evidence"]["saturated_ratio"] == 2500 / 4096
    assert [layer["status"] for layer in value["layers"]] == ["healthy", "saturated", "vanishing", "vanishing"]


@given(st.text(max_size=200))
def test_shown_is_printable_short_and_the_same_where_nothing_is_wrong(text: str) -> None:
    result = shown(text)
    assert result.isprintable()
    assert len(result) <= 12 * 80
    assert result == text or len(text) > 80 or not text.isprintable()


@given(st.floats(0.0, 1.0))
def test_percent_says_100_and_0_only_where_it_is(share: float) -> None:
    assert (percent(share) == "100%") == (share == 1.0)
    assert (percent(share) == "0%") == (share == 0.0)


def test_numbers_and_evidence() -> None:
    assert [number(x) for x in (0.0, -1.5, 999999.0, 1e-12)] == ["0", "-1.5", "1,000,000", "1e-12"]
    evidence = Evidence(a=float("nan"), b=float("inf"), c=None, d=1.5, e="x")
    assert dict(evidence) == {"d": 1.5, "e": "x"}
    assert evidence == Evidence(d=1.5, e="x")
    finding = Finding("a", "dead", "warning", 0, evidence, "m", "c", ("r",))
    assert finding.to_dict()["remedies"] == ["r"]


def test_each_layer_that_follows_is_named_once() -> None:
    steps = range(10)
    gone = [row(s, zeros=4096, dead_neurons=64, std=0.0, mean=0.0, within_std=0.0) for s in steps]
    layers = {"0": ("Linear", [row(s) for s in steps]), "1": ("ReLU", gone), "2": ("ReLU", gone)}
    diagnosis = watch(layers).diagnose()
    assert sum(finding.layer == "2" for finding in diagnosis.findings) > 1
    assert "The same in 2. " in sentence(diagnosis)
    assert "Downstream" not in sentence(diagnosis)
