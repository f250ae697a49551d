"""What the user has accepted is shown apart, is not counted, and takes along what follows from it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from any_rows import fill, layers_and_rows
from hypothesis import given
from hypothesis import strategies as st
from synthetic import row, watch

import fastact
from fastact.diagnosis.accept import accept_from_option, accept_from_toml, as_mapping, check_accept, from_json, to_json
from fastact.diagnosis.diagnoser import Diagnoser
from fastact.diagnosis.report import Diagnosis
from fastact.diagnosis.rules import RULES
from fastact.errors import ArgumentTypeError, ArgumentValueError, FastactError

CONDITIONS = [rule.condition for rule in RULES]


def diagnosis(accept: Any, *, layers: Any = None) -> Diagnosis:
    """Two tanh layers that saturate, each since a step of its own, and one whose signal vanishes after the first."""
    steps = range(150)
    tanh = [row(s, saturated=2500 if s >= 20 else 0, min=-1.0, max=1.0) for s in steps]
    later = [row(s, saturated=2500 if s >= 100 else 0, min=-1.0, max=1.0) for s in steps]
    faint = [row(s, within_std=1e-6 if s >= 20 else 0.5) for s in steps]
    given = {"in": ("Linear", [row(s) for s in steps]), "a.tanh": ("Tanh", tanh), "a.out": ("Linear", faint)}
    given |= {"b.tanh": ("Tanh", later), "out": ("Linear", [row(s) for s in steps])}
    return watch(layers or given, accept=accept).diagnose()


def found(report: Diagnosis) -> list[tuple[str, str]]:
    return [(finding.layer, finding.condition) for finding in report.findings]


def test_a_finding_that_is_accepted_is_shown_apart_with_its_reason_and_its_consequences() -> None:
    assert found(diagnosis(None)) == [("a.tanh", "saturated"), ("a.out", "vanishing"), ("b.tanh", "saturated")]
    report = diagnosis({"a.tanh": {"saturated": "a gate, it is meant to be"}})
    assert found(report) == [("b.tanh", "saturated")]
    assert [(each.finding.layer, each.finding.condition, each.reason) for each in report.accepted] == [
        ("a.tanh", "saturated", "a gate, it is meant to be"),
        ("a.out", "vanishing", "a gate, it is meant to be"),
    ]
    assert [layer.status for layer in report.layers] == ["healthy", "accepted", "accepted", "saturated", "healthy"]
    assert [layer.severity for layer in report.layers] == ["", "", "", "warning", ""]


def test_a_consequence_can_be_accepted_without_its_culprit() -> None:
    report = diagnosis({"a.out": "vanishing"})
    assert found(report) == [("a.tanh", "saturated"), ("b.tanh", "saturated")]
    assert [(each.finding.layer, each.finding.consequence_of) for each in report.accepted] == [("a.out", "a.tanh")]
    assert "a.out (Linear) has been vanishing" in str(report)


@pytest.mark.parametrize("accept", ["*", ["*"], {"*": ""}, ["saturated", "vanishing"]])
def test_all_that_is_accepted_makes_a_healthy_run(accept: Any) -> None:
    report = diagnosis({"*": accept})
    assert report.healthy
    assert len(report.accepted) == 3
    assert report.accepted_in_vain == ()
    assert str(report).startswith("No problems found in 5 layers, over steps 0 to 149, besides what is accepted.\n")


def test_a_name_that_looks_like_a_pattern_is_still_a_name() -> None:
    rows = [row(step, saturated=2500, min=-1.0, max=1.0) for step in range(20)]
    report = diagnosis({"gate[1]": "saturated"}, layers={"gate[1]": ("Tanh", rows)})
    assert report.healthy
    assert not diagnosis({"GATE*": "saturated"}, layers={"gate[1]": ("Tanh", rows)}).healthy


def test_what_only_shares_a_cause_is_not_accepted_along_with_it() -> None:
    rows = [row(step, saturated=4000, min=-1.0, max=1.0) for step in range(20)]
    layers = {str(i): ("Tanh", rows) for i in range(4)}
    (culprit, *followers) = watch(layers).diagnose().findings
    assert [f.consequence_of for f in followers] == [culprit.layer] * 3  # one cause, one finding
    report = watch(layers, accept={"0": "saturated"}).diagnose()
    assert [(f.layer, f.consequence_of) for f in report.findings] == [("1", None), ("2", "1"), ("3", "1")]
    assert [each.finding.layer for each in report.accepted] == ["0"]


def test_what_was_accepted_in_vain_is_said_in_one_line() -> None:
    report = diagnosis({"a.tanh": "saturated", "c.*": ["dead", "saturated"], "b.tanh": "dead"})
    assert report.accepted_in_vain == ("c.*: dead", "c.*: saturated", "b.tanh: dead")
    assert "- Accepted, but not found: c.*: dead, c.*: saturated, b.tanh: dead." in str(report).splitlines()
    assert report.to_dict()["accepted_in_vain"] == list(report.accepted_in_vain)


def test_the_first_acceptance_that_fits_gives_the_reason_and_each_that_fits_counts_as_used() -> None:
    report = diagnosis({"a.*": {"saturated": "first"}, "*": {"saturated": "second"}, "a.tanh": "*"})
    assert [each.reason for each in report.accepted] == ["first", "first", "second"]
    assert report.accepted_in_vain == ()


def test_the_text_tells_the_reason_and_the_consequences() -> None:
    text = str(diagnosis({"a.tanh": {"saturated": "a gate, it is meant to be."}}))
    (line,) = [line for line in text.splitlines() if line.startswith("- a.tanh")]
    assert line.endswith("Downstream: a.out (vanishing). Reason: a gate, it is meant to be.")
    assert "Accepted, not counted:" in text.splitlines()
    hostile = str(diagnosis({"a.tanh": {"saturated": "x\n\x1b[2J"}}))
    assert all(line.isprintable() for line in hostile.split("\n"))
    assert hostile.count("\n") == text.count("\n")


@given(
    layers_and_rows(),
    st.dictionaries(
        st.sampled_from(["*", "layer0", "layer1*", "*:eval", "*:grad"]),
        st.lists(st.sampled_from([*CONDITIONS, "*"]), min_size=1),
        max_size=3,
    ),
)
def test_nothing_that_is_accepted_is_a_finding_and_nothing_is_lost(given_rows: Any, accept: Any) -> None:
    diagnoser = fill(given_rows[0], given_rows[1], 30)
    before = diagnoser.diagnose()
    assert before.accepted == ()
    covers = diagnoser.accepted = check_accept(accept)
    report = diagnoser.diagnose()
    for finding in report.findings:
        assert not any(each.covers(finding) for each in covers)
    culprits = {each.finding.layer for each in report.accepted if each.finding.consequence_of is None}
    for each in report.accepted:
        own = any(acceptance.covers(each.finding) for acceptance in covers)
        assert own or each.finding.consequence_of in culprits
    was = {(finding.layer, finding.condition) for finding in before.findings}
    now = set(found(report)) | {(each.finding.layer, each.finding.condition) for each in report.accepted}
    assert was <= now | {(layer, note.condition) for note in report.notes for layer in note.layers}
    # The timeline says what was found while nothing was accepted yet.
    whole = fill(given_rows[0], given_rows[1], 30, as_mapping(covers)).diagnose()
    assert replace(whole, timeline=()) == replace(report, timeline=())


# --- the argument


@pytest.mark.parametrize(
    ("accept", "error", "said"),
    [
        ("encoder", ArgumentTypeError, "accept: got str, want a mapping of layer names to conditions"),
        ({3: "dead"}, ArgumentTypeError, "accept: got the key 3, want a layer's name"),
        ({"": "dead"}, ArgumentTypeError, "accept: got the key '', want a layer's name"),
        ({"a": 3}, ArgumentTypeError, "accept['a']: got int, want a condition, a list of conditions, or a mapping"),
        ({"a": [3]}, ArgumentTypeError, "accept['a']: got int, want the name of a condition"),
        ({"a": []}, ArgumentValueError, "accept['a']: got none, want a condition"),
        ({"a": "dying"}, ArgumentValueError, "accept['a']: got the condition 'dying', want '*' or one of "),
        ({"a": {"dead": 3}}, ArgumentTypeError, "accept['a']['dead']: got int, want a reason as text"),
        ({"a": {"3": {"dead": "x"}}}, ArgumentTypeError, 'a layer\'s name with dots has to be quoted: "a.3"'),
    ],
)
def test_what_is_wrong_is_named(accept: Any, error: type[FastactError], said: str) -> None:
    for make in (check_accept, lambda accept: Diagnoser(accept=accept), lambda accept: _monitor(accept)):
        with pytest.raises(error) as caught:
            make(accept)
        assert said in str(caught.value)


def _monitor(accept: Any) -> fastact.ActivationMonitor:
    return fastact.ActivationMonitor(accept=accept)


def test_an_unknown_condition_is_answered_with_all_that_are_known() -> None:
    with pytest.raises(ArgumentValueError) as caught:
        check_accept({"a": "dying"})
    assert str(caught.value).endswith(", ".join(CONDITIONS))


def test_a_toml_file_has_them_beside_the_thresholds(tmp_path: Path) -> None:
    file = tmp_path / "fastact.toml"
    file.write_text('min_rows = 7\n[accept]\n"encoder.*" = { dead = "pruned" }\nhead = ["saturated", "dead"]\n')
    assert accept_from_toml(file) == {"encoder.*": {"dead": "pruned"}, "head": {"saturated": "", "dead": ""}}
    assert fastact.Thresholds.from_toml(file).min_rows == 7
    file.write_text('[tool.fastact.thresholds]\nmin_rows = 8\n[tool.fastact.accept."encoder.3"]\ndead = "pruned"\n')
    assert fastact.accept_from_toml(str(file)) == {"encoder.3": {"dead": "pruned"}}
    assert fastact.Thresholds.from_toml(file).min_rows == 8
    for nothing in ("", "[tool.ruff]\n", "min_rows = 7\n"):
        file.write_text(nothing)
        assert accept_from_toml(file) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("accept = 3", "accept: got int, want a table"),
        ("[tool.fastact]\naccept = 3", "tool.fastact.accept: got int, want a table"),
        ("[accept]\nhead = 'dying'", "accept['head']: got the condition 'dying', want '*' or one of"),
        ("[accept]\nencoder.3 = { dead = 'x' }", 'quoted: "encoder.3"'),
        ("[accept", "want a TOML file"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_the_file(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "wrong.toml").write_text(text)
    with pytest.raises(FastactError) as caught:
        accept_from_toml(tmp_path / "wrong.toml")
    assert said in str(caught.value)
    assert "wrong.toml" in str(caught.value)


def test_an_option_of_the_command_line_is_a_pattern_a_condition_and_a_reason() -> None:
    assert accept_from_option("act:2:dead") == {"act:2": {"dead": ""}}
    assert accept_from_option("encoder.*:*=see issue: a=b") == {"encoder.*": {"*": "see issue: a=b"}}
    for wrong in ("encoder", ":dead", "encoder:", "=why", "a:=why"):
        with pytest.raises(ArgumentValueError, match="want PATTERN:CONDITION"):
            accept_from_option(wrong)
    with pytest.raises(ArgumentValueError, match="condition 'dying'"):
        accept_from_option("encoder:dying")


def test_what_a_log_holds_of_another_version_is_read_as_far_as_it_is_known() -> None:
    kept = check_accept({"a": {"dead": "x"}, "b": ["saturated", "*"]})
    assert check_accept(from_json(to_json(kept))) == kept
    stored = json.dumps({"a": {"dead": "x", "of_next_year": ""}, "b": {"of_next_year": ""}})
    assert from_json(stored) == {"a": {"dead": "x"}}
    for broken in (None, "", "{", "[]", "3", '{"a": 3}', '{"a": ["dead"]}', '{"": {"dead": ""}}'):
        assert from_json(broken) == {}
