"""What the zoo counts as found, right and false must be right itself: verdicts, figures and their tables."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from bench.zoo import report
from bench.zoo.__main__ import show
from bench.zoo.figures import by_architecture, by_confidence, poisson, scores, wilson
from bench.zoo.recipes import Sick
from bench.zoo.report import answers, sureness
from bench.zoo.score import ANSWERS, Verdict, plain, verdict
from fastact.diagnosis.finding import Evidence, Finding


def finding(layer: str, condition: str, step: int = 0, of: str | None = None, cause: str = "") -> Finding:
    return Finding(layer, condition, "serious", step, Evidence(), "", "", (), of, cause)


def sick(**fields: Any) -> Sick:
    return Sick(**{"network": "n", "fault": "f", "says": "", "conditions": frozenset({"dead"}), **fields})


def test_a_verdict_of_a_sick_run() -> None:
    fault = sick(conditions=frozenset({"saturated"}), layers=("fc2", "rnn"), at=3)
    before = [finding("fc9", "drifting"), finding("fc8", "saturated"), finding("fc7", "dead")]
    wrong = [finding("fc1", "dead")]
    right = [*before, finding("rnn[1]", "saturated", 4), finding("fc3", "saturated", 4, of="rnn[1]")]
    judged = [(0, []), (2, before), (4, [*before, *wrong]), (6, right), (8, wrong)]
    found = verdict(judged, fault, onset=3, dead=("fc7",))
    # What was said before the fault is no finding of it.
    assert found == Verdict(
        alarms=(("fc9", "drifting", 2), ("fc8", "saturated", 2)),
        harmless=(("fc7", "dead", 2),),
        found=2,
        layer=True,
        layer_at_end=False,
        condition=True,
        first=True,
        kept=False,
        confidence="possible",
        sentence=False,
        answer="other condition",
        said=("saturated in rnn[1] since 4 (cause unknown)", "dead in fc1 since 0 (cause unknown)"),
    )
    # It is when it has become graver.
    worse = dataclasses.replace(before[1], severity="critical", layer="fc2")
    mild = dataclasses.replace(worse, severity="warning")
    graver = verdict([(2, [mild]), (4, [mild]), (5, [worse])], fault, 3)
    assert (graver.found, graver.layer) == (2, True)
    # What only follows from something else is not the finding that is wanted.
    assert verdict([(4, [finding("fc1", "dead"), finding("fc2", "saturated", of="fc1")])], fault, 3).found is None
    # A slow fault may be found before it does harm, but not before it is there.
    assert verdict(judged, dataclasses.replace(fault, slow=True), onset=7).found == 0


def test_the_first_sentence_is_right_when_layer_condition_and_cause_are() -> None:
    fault = sick(conditions=frozenset({"dead"}), layers=("block.fc2",), causes=frozenset({"initialisation"}))

    def first(*culprits: Finding) -> bool | None:
        return verdict([(0, culprits)], fault, 0).first

    right = finding("block.fc2", "dead", cause="initialisation")
    assert first(right)
    assert first(dataclasses.replace(right, layer="block.fc2.relu:2"))
    assert first(dataclasses.replace(right, layer="block.fc2:eval"))
    for layer in ("block.fc", "block.fc2.norm"):
        assert first(dataclasses.replace(right, layer=layer)) is False
    assert first(dataclasses.replace(right, cause_name="learning_rate")) is False
    assert first(dataclasses.replace(right, condition="constant"), right) is False
    assert first(dataclasses.replace(right, condition="constant")) is None
    assert verdict([(0, [right])], dataclasses.replace(fault, layers=()), 0).first
    assert verdict([(0, [right])], dataclasses.replace(fault, causes=frozenset()), 0).first


def test_how_sure_the_first_sentence_at_the_end_was_and_whether_it_was_right() -> None:
    fault = sick(conditions=frozenset({"dead"}), layers=("fc2",), causes=frozenset({"initialisation"}))
    right = dataclasses.replace(finding("fc2", "dead", cause="initialisation"), confidence="certain")

    def end(*culprits: Finding) -> tuple[str, bool | None]:
        found = verdict([(0, [right]), (1, culprits)], fault, 0)
        return found.confidence, found.sentence

    assert end(right) == ("certain", True)
    assert end(dataclasses.replace(right, layer="fc1"), right) == ("certain", False)
    assert end(dataclasses.replace(right, cause_name="depth", confidence="likely")) == ("likely", False)
    assert end() == ("", None)
    told = [("certain", True), ("certain", False), ("likely", True), ("unknown", False)]
    shares = {sure: (it["right"], it["told"]) for sure, it in by_confidence(told).items()}
    assert shares == {"certain": (1, 2), "likely": (1, 1), "unknown": (0, 1)}
    assert "certain 1 of 2, 0.50 (0.09–0.91)" in sureness(by_confidence(told))
    assert sureness({}) == ""


def test_where_the_right_answer_was_at_the_end_of_a_sick_run() -> None:
    fault = sick(conditions=frozenset({"dead"}), layers=("fc2", "fc3"), causes=frozenset({"depth"}))
    right, other = finding("fc2", "dead", cause="depth"), finding("fc1", "saturated")
    ends = {
        "first": [right, other],
        "later culprit": [other, right, finding("fc3", "dead", of="fc1", cause="depth")],
        "consequence": [other, dataclasses.replace(right, consequence_of="fc1")],
        "other cause": [other, finding("fc3", "dead", cause="inputs")],
        "other layer": [dataclasses.replace(right, layer="fc1")],
        "other condition": [other],
        "silent": [],
    }
    found = [verdict([(4, end)], fault, 0) for end in ends.values()]
    assert [it.answer for it in found] == list(ends) == list(ANSWERS)
    assert scores({}, {"a": found})["answers"] == dict.fromkeys(ends, 1)
    told = answers(scores({}, {"a": [*found, found[-1]]})["answers"])
    assert "of 8 sick runs: the first culprit 1, a later culprit 1" in told
    assert told.endswith("nothing told 2.")
    # Without a wish for a cause or a layer any is right; and of a healthy run nothing is asked.
    assert verdict([(4, [finding("fc9", "dead")])], sick(), 0).answer == "first"
    assert verdict([(4, [right])], None, 0).answer == ""


def test_a_verdict_of_a_healthy_run() -> None:
    judged = [
        (0, [finding("act1", "dead"), finding("act2", "dead")]),
        (1, [finding("act1", "dead"), finding("act1", "saturated"), finding("act3", "vanishing", of="act1")]),
    ]
    found = verdict(judged, None, 0, dead={"act2": 0.1})
    assert found.alarms == (("act1", "dead", 0), ("act1", "saturated", 1))
    assert found.harmless == (("act2", "dead", 0),)
    assert (found.found, found.layer) == (None, None)


def _verdict(found: int | None = None, layer: bool | None = None, alarms: int = 0) -> Verdict:
    first = None if found is None else layer is not False
    return Verdict(
        tuple((f"l{i}", "dead", 0) for i in range(alarms)), (), found, layer, layer, layer, layer, first, first
    )


def _scores(healthy: list[Verdict], ill: list[Verdict]) -> dict[str, Any]:
    return scores({"net": healthy}, {"net": ill})


def test_the_scores_are_counted_as_they_are_named() -> None:
    healthy = [_verdict(), _verdict(), _verdict(alarms=3), _verdict()]
    ill = [_verdict(5, True), _verdict(40, False), _verdict(None), _verdict(0, None), _verdict(20, True, alarms=1)]
    it = _scores(healthy, ill)
    assert it["recall"] == 4 / 5
    assert it["precision"] == round(4 / 6, 4)
    assert it["alarms_per_healthy_run"] == 3 / 4
    assert it["healthy_alarmed"] == 1
    assert it["right_layer"] == round(2 / 3, 4)
    assert it["found_soon"] == 3 / 5
    assert (it["median_steps"], it["slowest_steps"]) == (12.5, 40)
    assert it["right_first"] == 3 / 5
    assert it["kept"] == 3 / 4
    assert it["alarms_poisson"] == poisson(3, 4)
    nothing = _scores([], [])
    assert nothing["recall"] is nothing["right_layer"] is nothing["median_steps"] is None


def test_intervals_are_those_of_the_books() -> None:
    # Wilson's of 8 in 10, and Garwood's of 3 events: tables in Newcombe (1998) and in Ulm (1990).
    assert wilson(8, 10) == (0.4902, 0.9433)
    assert wilson(0, 0) is None
    assert poisson(3, 1) == (0.6187, 8.7673)
    assert poisson(0, 100) == (0.0, 0.0369)
    assert poisson(0, 0) is None


def test_runs_of_one_architecture_are_drawn_together() -> None:
    def value(verdict: Verdict) -> float:
        return len(verdict.alarms)

    alone = {f"net{i}": [_verdict(alarms=i % 2)] for i in range(40)}
    together = {"good": [_verdict()] * 20, "bad": [_verdict(alarms=1)] * 20}
    narrow, wide = by_architecture(alone, value), by_architecture(together, value)
    assert narrow is not None
    assert 0.3 < narrow[0] < 0.5 < narrow[1] < 0.7
    assert wide == (0.0, 1.0)
    assert by_architecture({"net": []}, value) is None


def test_the_table_and_what_went_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    found = {"fastact": _scores([_verdict()], [_verdict(5, True)]), "naive": _scores([], [])}
    assert report.lines(found).rows[0] == ["fastact", "1.00", "1.00", "0.00", "0.00", "1.00", "1.00", "5"]
    assert report.lines(found).rows[1] == ["naive", *["-"] * 7]
    runs = [
        {"name": "a", "fault": "", "verdict": plain(_verdict(alarms=4))},
        {"name": "b", "fault": "too fast", "verdict": plain(_verdict())},
        {"name": "c", "fault": "too slow", "verdict": plain(_verdict(3, False))},
        {"name": "d", "fault": "", "verdict": plain(_verdict())},
    ]
    lines = report.failures(runs)
    assert [line.partition(":")[0] for line in lines] == ["a", "b (too fast)", "c (too slow)", "c (too slow)"]
    assert "wrong condition, layer, cause" in lines[2]
    assert "and 1 more" in lines[0]
    show(Console(width=140), "tuning", {"scores": found, "kinds": {}, "left_out": ["e: no harm"], "runs": runs})
    printed = capsys.readouterr().out
    assert "left out: e: no harm" in printed
    assert "wrong: b (too fast): not found" in printed


def test_the_readme_part_is_made_from_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = _scores([_verdict()], [_verdict(5, True), _verdict(None)])
    part = {"scores": {"fastact": own}, "kinds": {"rates": own}, "architectures": 1}
    parts = dict.fromkeys(("held-out", "opened", "held-out-4"), part)
    machine = {"python": "3.12.1", "versions": {"torch": "2.9"}}
    figures = dict.fromkeys(("recall", "right_layer", "right_first"), 0.5)
    alarms = {"alarms_per_healthy_run": 0.006, "notes_per_healthy_run": 0.16}
    then = {"opened": {"date": "2026-11-30", "sick": 2, "healthy": 1, **figures, **alarms}}
    source = tmp_path / "zoo.json"
    source.write_text(json.dumps({"date": "2026-01-01", "machine": machine, "parts": parts, "when_held_out": then}))
    monkeypatch.setattr(report, "SOURCE", source)
    text = report.zoo_part()
    assert "| fastact | 0.50 | 1.00 | 0.00 | 0.00 | 1.00 | 0.50 | 5 |" in text
    assert "| rates | 2 | 0.50 (0.09–0.91) |" in text
    assert "2 training runs with a planted fault that did harm and 1 healthy ones" in text
    assert "Python 3.12.1, torch 2.9; 2026-01-01." in text
    assert "A further part (2 sick runs and 1 healthy ones) was held out until 2026-11-30" in text
    assert "recall 0.50, right layer 0.50, first sentence right 0.50, 0.006 false alarms and 0.16 lines" in text


def test_what_is_true_of_a_healthy_network_is_no_false_alarm() -> None:
    judged = [(0, [finding("gate.softmax", "constant"), finding("gate.softmax", "dead"), finding("fc", "constant")])]
    found = verdict(judged, None, 0, flaws=(("constant", "gate*"),))
    assert found.harmless == (("gate.softmax", "constant", 0),)
    assert [alarm[:2] for alarm in found.alarms] == [("gate.softmax", "dead"), ("fc", "constant")]
