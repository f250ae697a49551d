"""What a person reads: one sentence first, the table, causes and remedies; and nothing that a name smuggles in."""

import dataclasses
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from supervised import layer, loss, optimiser, parameter, seen
from synthetic import row, watch

from fastact.diagnosis.causes.cause import Cause, best
from fastact.diagnosis.finding import Evidence, Finding
from fastact.diagnosis.report import Accepted, Diagnosis, LayerHealth, Note
from fastact.diagnosis.show.render import advice, headline, render_rich, render_text
from fastact.text import number, percent, shown

#: What is said of nothing.
NOTHING = "Nothing was recorded, so nothing could be judged: no layer has been recorded in a step that ended."


def sick(name: str = "encoder.3") -> Diagnosis:
    """A tanh that saturates at step 120, and two layers whose signal vanishes because of it."""
    steps = range(150)
    tanh = [row(s, saturated=2500 if s >= 120 else 0, min=-1.0, max=1.0, mean=1e-6) for s in steps]
    faint = [row(s, within_std=1e-6 if s >= 120 else 0.5) for s in steps]
    layers = {"encoder.2": ("Linear", [row(s) for s in steps]), name: ("Tanh", tanh)}
    layers |= {"encoder.4": ("Linear", faint), "head": ("Linear", faint)}
    return watch(layers).diagnose()


def sentence(diagnosis: Diagnosis) -> str:
    return headline(diagnosis)[0]


def on_terminal(diagnosis: Diagnosis, width: int = 200) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, force_terminal=False).print(render_rich(diagnosis))
    return stream.getvalue()


def test_it_opens_with_a_sentence_that_a_person_would_say() -> None:
    text = str(sick())
    assert text.splitlines()[0] == sentence(sick())
    assert text.startswith(
        "encoder.3 (Tanh) has been saturated since step 120: 61% of its outputs are beyond ±0.99. "
        "Downstream: encoder.4 (collapsed), head (vanishing).\n"
    )
    what, why, remedies, empty = text.splitlines()[:4]
    assert what.endswith("(vanishing).")
    assert why.startswith("Possible cause: ")
    assert remedies.startswith("Try: use a lower learning rate; clip the gradients; use Xavier")
    assert empty == ""


def test_the_table_and_the_findings_are_in_both_forms() -> None:
    diagnosis = sick()
    for text in (render_text(diagnosis), on_terminal(diagnosis)):
        lines = [line.split() for line in text.splitlines()]
        assert ["layer", "type", "mean", "std", "dead", "saturated", "status"] in lines
        assert ["encoder.3", "Tanh", "1e-06", "1", "0%", "61%", "saturated", "(warning)"] in lines
        assert ["encoder.2", "Linear", "0.1", "1", "0%", "-", "healthy"] in lines
        assert "1. [" not in text  # consequences are folded into their culprit, and the first lines tell that


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
        assert "Also NaN or Inf: out." in text
        heads = [line.split("]")[0] for line in text.splitlines() if line[1:4] == ". ["]
        assert heads == ["1. [critical", "2. [critical", "3. [critical", "4. [critical"]
        assert text.count("\n   Likely cause:") == text.count("\n   Try:") == 1


def test_healthy_unknown_and_empty() -> None:
    healthy = watch({"a": ("ReLU", [row(s) for s in range(9)]), "b": ("ReLU", [row(0)])}).diagnose()
    assert sentence(healthy) == "No problems found in 1 layer, over steps 0 to 8; not enough data yet for 1 more."
    assert render_text(Diagnosis((), ())) == NOTHING
    assert on_terminal(Diagnosis((), ())).strip() == NOTHING


def test_long_lists_are_cut() -> None:
    rows = [row(step, within_std=1e-9) for step in range(9)]
    layers = {"0": ("Linear", [row(step) for step in range(9)])} | {str(i): ("Linear", rows) for i in range(1, 30)}
    assert ": 28 more layers, such as 2, 3, 4." in sentence(watch(layers).diagnose())


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
        "healthy", "findings", "layers", "notes", "accepted", "unseen", "accepted_in_vain", "timeline"]  # fmt: skip
    first = value["findings"][0]
    assert (first["layer"], first["condition"], first["first_step"], first["consequence_of"]) == (
        "encoder.3", "saturated", 120, None)  # fmt: skip
    assert first["evidence"]["saturated_ratio"] == 2500 / 4096
    assert [layer["status"] for layer in value["layers"]] == ["healthy", "saturated", "collapsed", "vanishing"]


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
    assert "Also dead: 2." in sentence(diagnosis)
    assert "Downstream" not in sentence(diagnosis)


@pytest.mark.parametrize(
    ("confidence", "because", "lines"),
    [
        (
            "certain",
            ("its input is all zero",),
            ["Cause: An update was too large.", "Evidence: its input is all zero."],
        ),
        ("likely", ("a", "b"), ["Likely cause: An update was too large.", "Evidence: a; b."]),
        ("possible", (), ["Possible cause: An update was too large."]),
    ],
)
def test_it_says_how_sure_a_cause_is_and_what_speaks_for_it(
    confidence: Any, because: tuple[str, ...], lines: list[str]
) -> None:
    proved = confidence == "certain"
    cause = Cause("learning_rate", "An update was too large.", ("go slower", "clip"), because, proved=proved)
    finding = best([cause]).finding("a", "dead", "warning", 3, Evidence(), "a is dead.")
    assert finding.confidence == confidence
    assert advice(finding) == [*lines, "Try: go slower; clip."]
    text = render_text(Diagnosis((finding,), ()))
    assert text.split("\n")[: 2 + len(lines)] == ["a is dead.", *lines, "Try: go slower; clip."]


def test_an_unknown_cause_is_said_to_be_unknown() -> None:
    refuted = Cause("learning_rate", "An update was too large.", ("go slower",), refuted_by=("it was so at step 0",))
    finding = best([refuted]).finding("a", "dead", "warning", 0, Evidence(), "a is dead.")
    assert advice(finding) == ["Cause unknown: the recorded rows do not show why."]
    finding = best([refuted], ("look at the data",)).finding("a", "dead", "warning", 0, Evidence(), "a is dead.")
    assert advice(finding)[1:] == ["Try: look at the data."]
    assert "too large" not in render_text(Diagnosis((finding,), ()))


def a_finding(layer: str, condition: str = "dead", step: int = 0, of: str | None = None, **more: Any) -> Finding:
    values: dict[str, Any] = {"message": f"{layer} is so.", "cause": "C.", "remedies": ("r",)} | more
    return Finding(layer, condition, "critical", step, Evidence(), consequence_of=of, **values)


def health(name: str, kind: str = "Linear", status: str = "healthy", **more: Any) -> LayerHealth:
    values: dict[str, Any] = {"severity": "", "not_judged": (), "rows": 300, "first_step": 0, "last_step": 299} | more
    return LayerHealth(name, kind, 0.1, 1.0, None, None, status, **values)


def test_findings_that_differ_in_nothing_but_the_layer_are_told_as_one() -> None:
    experts = [a_finding(f"experts.{i}") for i in range(12)]
    text = render_text(Diagnosis(tuple(experts), ()))
    assert text.startswith("experts.0 is so. Also dead: 11 more layers, such as experts.1, experts.2, experts.3.\n")
    assert "experts.5" not in text
    assert "1. [" not in text
    other = a_finding("head", message="head is otherwise.", cause="D.")
    lines = render_text(Diagnosis((*experts, other), ())).splitlines()
    assert lines[1:] == [
        "Possible cause: C.",
        "Try: r.",
        "",
        "1. [critical] experts.0: see above.",
        "",
        "2. [critical] head is otherwise.",
        "   Possible cause: D.",
        "   Try: r.",
        "",
        "More: fastact explain dead",
    ]


def test_many_findings_of_one_cause_at_different_times_are_cut() -> None:
    lines = render_text(Diagnosis(tuple(a_finding(f"l{i}", step=i) for i in range(9)), ())).splitlines()
    assert [line for line in lines if "more like these" in line] == ["   4 more like these: l5, l6, l7, l8."]
    assert "5. [critical] l4 is so." in lines
    assert "l5 is so." not in "\n".join(lines)


def test_consequences_are_counted_by_what_they_are_and_when() -> None:
    layers = tuple(health(str(i)) for i in range(20))
    same = [a_finding(str(i), of="3") for i in range(4, 6)] + [a_finding(str(i), step=2, of="3") for i in range(6, 12)]
    other = [a_finding(str(i), "vanishing", of="3") for i in (12, 13)]
    (line, *_) = headline(Diagnosis((a_finding("3"), *reversed(same), *other), layers))
    assert line == ("3 is so. Also dead: 4, 5; later 6 more layers, such as 6, 7, 8. Downstream: 12, 13 (vanishing).")
    (line, *_) = headline(Diagnosis((a_finding("3"), a_finding("1", "vanishing", 5, "3")), layers))
    assert line == "3 is so. It also explains: 1 (vanishing)."  # it lies before
    (line, *_) = headline(Diagnosis((a_finding("3"), a_finding("4", step=1, of="3")), layers))
    assert line == "3 is so. Also dead: later 4."


def test_a_healthy_run_is_told_with_what_was_looked_at_and_what_was_not() -> None:
    layers = [health("input", "Input"), *(health(str(i), last_step=200 + i) for i in range(12))]
    layers += [health("input:eval", "Input"), health("3:eval"), health("4:eval")]
    layers += [*(health(f"{i}:grad", "Gradient") for i in range(3))]
    layers += [health("words:usage", "Vocabulary", not_judged=("dead", "drifting"))]
    layers += [health("late", not_judged=("dead",))]
    layers += [health("new", status="not enough data", rows=2), health("gone", status="not enough data", rows=0)]
    unseen = (("head", "never called"), ("gone", "gave no rows."), *((f"x{i}", "never called") for i in range(5)))
    text = render_text(Diagnosis((), tuple(layers), unseen=unseen))
    assert text.splitlines()[0] == (
        "No problems found in 13 layers (2 of them in evaluation too), 1 input, 3 gradients and 1 vocabulary, "
        "over steps 0 to 299; not enough data yet for 2 more."
    )
    assert text.split("Not looked at:\n")[1].splitlines() == [
        "- head, x0, x1 and 3 more: never called.",
        "- gone: gave no rows.",
        "- new: too few rows.",
        "- dead, drifting: too few rows or samples yet in 2 layers.",
    ]


def test_what_began_before_is_not_said_to_be_no_problem() -> None:
    late = Diagnosis((a_finding("1"),), (health("1", severity="serious", status="dead"), health("2"))).since(10)
    assert late.findings == ()
    assert headline(late)[0] == (
        "No problem began in the steps that were asked for, besides those of 1 layer that was sick before."
    )


def test_the_blocks_come_in_order_each_with_an_empty_line_before_it() -> None:
    diagnosis = Diagnosis(
        (a_finding("a"), a_finding("b", "vanishing", cause="D.")),
        (health("a"),),
        (Note("outlier_channels", ("c",), 0, "c has an outlier."),),
        (Accepted(a_finding("d"), "known"),),
        (("e", "never called"),),
    )
    for text in (render_text(diagnosis), on_terminal(diagnosis, 2000)):
        lines = [line.rstrip() for line in text.splitlines()]
        heads = [
            "1. [critical] a: see above.",
            "2. [critical] b is so.",
            "Accepted, not counted:",
            "Notes (no harm seen):",
            "Not looked at:",
            "More: fastact explain dead vanishing outlier_channels",
        ]
        places = [lines.index(head) for head in heads]
        assert places == sorted(places)
        assert {lines[place - 1] for place in places} == {""}
        assert [lines[place + 1] for place in places[2:5]] == [
            "- d is so. Reason: known.",
            "- c has an outlier.",
            "- e: never called.",
        ]
    assert not diagnosis.healthy
    assert dataclasses.replace(diagnosis, findings=()).healthy


def test_losses_have_lines_of_their_own_and_parameters_only_where_something_was_found() -> None:
    fc = layer("fc", [row(step) for step in range(12)])
    healthy = seen(fc, loss([0.5] * 12), parameter("fc.weight", rows=12), optimiser(rows=12, trainable=1)).diagnose()
    assert headline(healthy)[0] == (
        "No problems found in 1 layer and 1 loss, over steps 0 to 11; whether it learns is not known yet, after 12 "
        "rows of the loss."
    )
    long = seen(layer("fc", [row(step) for step in range(30)]), loss([0.5] * 30)).diagnose()
    assert headline(long)[0] == "No problems found in 1 layer and 1 loss, over steps 0 to 29."
    for text in (render_text(healthy), on_terminal(healthy)):
        assert "- loss: 0.5 at step 11; the best constant answer gets 2.3" in text.splitlines()
        assert "fc.weight" not in text
        assert "optimiser" not in text
    assert {each.name for each in healthy.layers} >= {"fc.weight", "fc.weight:grad", "optimiser", "loss:target"}
    sick = seen(fc, parameter("fc.weight", rows=12, update=0.0), optimiser(rows=12, trainable=1)).diagnose()
    table = [line.split() for line in render_text(sick).splitlines()]
    assert ["optimiser", "Optimiser", "0.001", "0", "-", "-", "not", "learning", "(critical)"] in table
    sick = seen(fc, loss([2.3] * 12), parameter("fc.weight", rows=12, update=0.0)).diagnose()
    line = "- loss: 2.3 at step 11; the best constant answer gets 2.3 [not learning (critical)]"
    assert line in render_text(sick).splitlines()
    assert "- loss: no finite number at step 1" in render_text(seen(loss([2.3, float("nan")], None)).diagnose())


def test_a_few_rows_of_parameters_are_no_layers_without_data() -> None:
    few = seen(layer("fc", [row(step) for step in range(12)]), parameter("fc.weight", rows=2)).diagnose()
    assert headline(few)[0] == "No problems found in 1 layer, over steps 0 to 11."
    assert "fc.weight" not in str(few)
