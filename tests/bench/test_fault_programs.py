"""The set of faulty programs judges the rules, so what it counts as found, right and false must be right itself."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

import bench.faults as fault_programs
from bench.faults import judge, opened_2_data, report
from bench.faults.case import PARTS, Case, cases
from bench.faults.causes import CAUSES, KINDS
from bench.faults.figures import figures
from bench.faults.judge import Judged, judged, said, trained_by_name
from bench.faults.run import Run
from bench.zoo.data import TASKS
from bench.zoo.score import JUDGES
from fastact import pages
from fastact.diagnosis.finding import Evidence, Finding
from fastact.diagnosis.rules import RULES

#: Those that rules are being written for, beside the ones that there are.
CONDITIONS = {rule.condition for rule in RULES} | {"eval_shift", "output_mismatch", "not_learning"}


@pytest.fixture(scope="module")
def every() -> list[Case]:
    pytest.importorskip("keras", reason="Keras is not installed")
    return cases()


def test_there_are_enough_cases_of_each_kind(every: list[Case]) -> None:
    faulty = Counter(case.part for case in every if case.causes)
    assert faulty["tuning"] >= 60
    assert faulty["opened"] >= 50
    second = [case for case in every if case.part == "opened-2"]
    assert Counter(case.framework for case in second if case.causes) >= Counter(torch=36, keras=24)
    assert sum(not case.causes for case in second) >= 15
    assert {case.kind for case in second} == {*KINDS, "look-alike"} - {"numerics"}
    third = [case for case in every if case.part == "opened-3"]
    assert Counter(case.framework for case in third if case.causes) >= Counter(torch=40, keras=16)
    assert sum(not case.causes for case in third) >= 16
    assert {case.kind for case in third} == {*KINDS, "look-alike"}
    fourth = [case for case in every if case.part == "opened-4"]
    assert Counter(case.framework for case in fourth if case.causes) >= Counter(torch=50, keras=18)
    assert sum(not case.causes for case in fourth) >= 20
    assert {case.kind for case in fourth} == {*KINDS, "look-alike"}
    fifth = [case for case in every if case.part == "opened-5"]
    assert Counter(case.framework for case in fifth if case.causes) >= Counter(torch=55, keras=30)
    assert sum(not case.causes for case in fifth) >= 20
    assert {case.kind for case in fifth} == {*KINDS, "look-alike"}
    asked = [case for case in every if case.part == "questions"]
    assert {case.framework for case in asked} == {"keras"}
    assert sum(bool(case.causes) for case in asked) >= 60
    assert sum(not case.causes for case in asked) >= 6
    held_out = [case for case in every if case.part == "held-out"]
    assert Counter(case.framework for case in held_out if case.causes) >= Counter(torch=90, keras=30)
    assert {case.kind for case in held_out} >= {*KINDS} - {"numerics"}
    assert {case.framework for case in every} == {"torch", "keras"}
    assert {case.kind for case in every} == {*KINDS, "look-alike"}


def test_the_opened_part_has_other_data_and_kinds_that_the_other_has_not(every: list[Case]) -> None:
    causes = {part: {it.causes[0] for it in every if it.part == part and it.causes} for part in PARTS}
    assert len(causes["opened"] - causes["tuning"]) >= 8
    tasks = {part: tasks_of(part) for part in ("tuning", "opened")}
    assert min(map(len, tasks.values())) >= 6
    assert not tasks["tuning"] & tasks["opened"]


def test_the_second_opened_part_has_data_and_kinds_of_its_own(every: list[Case]) -> None:
    assert not tasks_of("opened_2")
    folder = Path(fault_programs.__file__).parent
    made = {
        name for name, it in vars(opened_2_data).items() if callable(it) and it.__module__ == opened_2_data.__name__
    }
    programs = "".join(path.read_text(encoding="utf-8") for path in folder.glob("opened_2_[thk]*.py"))
    assert len({name for name in made if re.search(rf"\b{name}\(", programs)}) >= 18
    others = [path for part in ("tuning", "opened") for path in folder.glob(f"{part}_[!2345]*.py")]
    assert not [path.name for path in others if "opened_2" in path.read_text(encoding="utf-8")]
    causes = {part: {it.causes[0] for it in every if it.part == part and it.causes} for part in PARTS}
    assert causes["opened-2"] - causes["tuning"] - causes["opened"]
    assert len(causes["opened-2"]) >= 34
    # Some run for hundreds of steps, as their users would; none for so many that the part takes long.
    lengths = sorted(int(steps) for steps in re.findall(r"(?:steps=|range\()(\d{2,3})\b", programs))
    assert lengths[len(lengths) // 2] >= 100
    assert 250 <= lengths[-1] <= 400


def test_the_part_that_is_held_out_has_data_and_networks_of_its_own() -> None:
    folder = Path(fault_programs.__file__).parent
    for path in folder.glob("*.py"):
        mine = path.name.startswith("held_out")
        named = set(re.findall(r"bench\.faults\.(\w+?)_\w+ import", path.read_text(encoding="utf-8")))
        assert named <= (
            {"held"} if mine else {"opened", "tuning", "questions", "opened_2", "opened_3", "opened_4", "opened_5"}
        ), path.name
        # Whoever writes rules may open none of it, and finds in its first line why.
        assert not mine or "eld out" in path.read_text(encoding="utf-8").splitlines()[0]


def tasks_of(part: str) -> set[str]:
    paths = Path(fault_programs.__file__).parent.glob(f"{part}_[!2345]*.py")
    texts = [path.read_text(encoding="utf-8") for path in paths]
    return {name for text in texts for name in re.findall(r'"([a-z_]+)"', text)} & set(TASKS)


def test_what_is_accepted_is_known(every: list[Case]) -> None:
    for case in every:
        assert case.says.endswith("."), case.name
        assert set(case.causes) <= set(CAUSES)
        assert case.conditions <= CONDITIONS, case.name
        assert bool(case.conditions) == bool(case.causes)
        assert 0.05 < case.good < 1.0


def test_each_cause_is_told_apart_by_its_name() -> None:
    for name, cause in CAUSES.items():
        assert cause.kind in KINDS
        assert name in cause.also
        assert cause.conditions <= CONDITIONS
        re.compile(cause.words)


def test_what_the_page_of_a_mismatch_tells_is_accepted_of_some_fault() -> None:
    page = (Path(pages.__file__).parent / "conditions" / "output_mismatch.md").read_text(encoding="utf-8")
    told = {name for line in page.splitlines() if line.startswith("| ") for name in re.findall(r"`([a-z_]+)` ", line)}
    told -= {name for name in told if name.startswith("mismatch_")}  # thresholds
    assert len(told) >= 20
    assert told <= frozenset().union(*(cause.also for cause in CAUSES.values()))


@pytest.mark.parametrize(
    ("says", "cause", "others"),
    [
        ("The weights were initialised too large.", "initialisation_too_large", "rate_too_large set_anew momentum"),
        ("The learning rate is too high.", "rate_too_large", "initialisation_too_large no_zero_grad"),
        ("An update wrote NaN into its weights, out of a root.", "undefined_operation", "missing_values"),
        ("The inputs have NaN.", "missing_values", "undefined_operation"),
        ("Its inputs are below zero for every sample, since the update was too large.", "rate_too_large",
         "relu_on_output rate_too_small"),
        ("The inputs are too small for float16.", "number_range", "rate_too_small"),
        ("Half of its neurons are dead.", "dead_units", "number_range"),
        ("Each block averages over its neighbours, until all are alike.", "oversmoothing", "dead_units number_range"),
        ("The model has weights that no optimiser holds.", "missing_from_optimiser", "norm_in_eval no_step"),
    ],
)  # fmt: skip
def test_a_sentence_tells_its_cause_and_not_another(says: str, cause: str, others: str) -> None:
    assert CAUSES[cause].told(says)
    assert not [name for name in others.split() if CAUSES[name].told(says)]


@pytest.mark.e2e
def test_a_program_with_its_fault_and_its_twin_are_run_and_judged(
    every: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = next(case for case in every if case.name == "tumour_softmax_over_one_unit")
    result = judged(case, tmp_path)
    assert result.fit == ""
    assert result.skill is not None
    assert result.skill < 0.1
    assert result.twin_skill > 0.5
    assert set(result.faulty) == set(result.twin) == set(JUDGES)
    own = result.faulty["fastact"]
    assert (own.found, own.right, own.first) == (0, True, True)
    assert not result.faulty["autotrainer"].right
    assert result.twin["fastact"].alarms == ()
    # What is kept is judged without training.
    monkeypatch.setattr(judge, "trained", lambda *_, **__: pytest.fail("was trained"))
    assert judged(case, tmp_path) == result


class Bare(Run):
    """Trains unwatched: what the callback does has tests of its own."""

    @property
    def callbacks(self) -> list[Any]:
        return []


@pytest.mark.e2e
def test_skills_are_told_without_asking_any_rule(every: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "JUDGES", {"fastact": lambda diagnoser: pytest.fail("was asked")})
    case = next(case for case in every if case.name == "hearts_loss_clamped")
    result = trained_by_name(case.name)
    assert result.fit == ""
    assert result.skill is not None
    assert result.skill < 0.1
    assert result.twin_skill > 0.5
    assert result.steps == 80


@pytest.mark.e2e
def test_a_keras_program_is_run(every: list[Case], tmp_path: Path) -> None:
    case = next(case for case in every if case.name == "keras_tumour_softmax_over_one_unit")
    assert case.program(Bare(tmp_path), False) > case.good


def finding(condition: str, cause: str = "", layer: str = "out", text: str = "") -> Finding:
    return Finding(layer, condition, "warning", 0, Evidence(), "", text, (), cause_name=cause)


CASE: Any = {"name": "n", "says": "", "part": "tuning", "framework": "torch", "program": lambda run, faulty: 0.0}
SICK = Case(**CASE, causes=("broadcast",), conditions=frozenset({"output_mismatch"}), layers=("out*",), since=3)


def test_found_counts_from_when_it_can_be_known() -> None:
    fit = finding("output_mismatch", "broadcast")
    result = said(SICK, [(0, [fit]), (5, [finding("dead")]), (10, [fit])])
    assert (result.found, result.right, result.first, result.layer) == (7, True, True, True)
    assert result.alarms == (("output_mismatch", "out"), ("dead", "out"))
    nothing = said(SICK, [(0, []), (9, [])])
    assert (nothing.found, nothing.right, nothing.first, nothing.layer) == (None, False, False, None)


def test_the_right_kind_is_told_by_name_or_in_words() -> None:
    for cause, text, right in (
        ("broadcast", "", True),
        ("other", "They broadcast.", True),
        ("rate", "Too fast.", False),
    ):
        result = said(SICK, [(4, [finding("output_mismatch", cause, text=text)])])
        assert (result.found, result.right) == (1, right)
    # A wrong condition is wrong, whatever its words.
    assert said(SICK, [(4, [finding("dead", "broadcast")])]).found is None
    assert said(SICK, [(4, [finding("output_mismatch", layer="fc1")])]).layer is False
    # The first culprit at the end counts as the first sentence.
    late = said(SICK, [(4, [finding("dead"), finding("output_mismatch", "broadcast")])])
    assert (late.right, late.first) == (True, False)


def test_harm_is_a_lower_skill_or_plain_and_nan_is_harm() -> None:
    case = Case(**CASE, good=0.5, worse=0.2)
    assert case.harmed(0.6, 0.9)
    assert not case.harmed(0.8, 0.9)
    assert case.harmed(torch.nan, 0.9)
    assert Case(**CASE, worse=None).harmed(0.9, 0.9)
    assert not case.learns(torch.nan)


def test_figures_leave_out_what_does_not_fit() -> None:
    fit = finding("output_mismatch", "broadcast")
    told = {name: said(SICK, [(4, [fit] if name == "fastact" else [])]) for name in JUDGES}
    quiet = {name: said(SICK, []) for name in JUDGES}
    good = Judged("n", 0.0, 0.9, "", told, quiet)
    bad = Judged("n", 0.9, 0.9, "no harm", told, quiet)
    odd = Case(**CASE)
    result = figures([(SICK, good), (SICK, bad), (odd, Judged("n", None, 0.9, "", {}, told))])
    own, other = (result["judges"][name] for name in ("fastact", "naive"))
    assert (own["faulty"], own["found"], own["right"], own["soon"], own["twins_alarmed"]) == (1, 1.0, 1.0, 1.0, 0.0)
    assert own["look_alikes_alarmed"] == 1.0
    assert other["found"] == other["look_alikes_alarmed"] == 0.0
    assert result["left_out"] == ["n: no harm"]
    assert set(result["kinds"]) == {CAUSES["broadcast"].kind, "look-alike"}


def test_the_readme_part_shows_the_held_out_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = json.loads(report.SOURCE.read_text(encoding="utf-8"))
    opened = whole["parts"]["opened"]
    own = opened["judges"]["fastact"]
    source = tmp_path / "faults.json"
    monkeypatch.setattr(report, "SOURCE", source)
    source.write_text(json.dumps({**whole, "parts": {**whole["parts"], "held-out": opened}}))
    text = report.faults_part()
    assert f"{own['faulty']} small programs with a fault" in text
    assert "no rule was tuned on them" in text
    assert "by one who wrote no rule" in text
    assert f"| all | {own['faulty']} | {own['found']:.2f} (" in text
    header = next(line for line in text.splitlines() if line.startswith("| rules |"))
    assert "right kind" in header
    assert "right layer" not in header  # of no program is it asked, so the column would be empty
    # What they came to before rules were tuned on them stays, whatever they come to later.
    then = "held out until 2026-11-30, when 0.73 of them were found, 0.68 with their right kind, 0.59 with the first"
    assert then in text
    assert "0.57 before step 20, with alarms on 0 of 75 twins and 1 of 19 look-alikes" in text
    source.write_text(json.dumps({**whole, "parts": {"opened": opened}}))
    text = report.faults_part()
    assert "have not been run yet" in text
    assert "no rule was tuned" not in text
    assert then in text
    assert "held out until 2026-11-30, when 0.78 of them were found, 0.67 with their right kind" in text
    source.write_text(json.dumps({**whole, "parts": {"tuning": whole["parts"]["tuning"]}}))
    assert "have not been run yet: `python -m" in report.faults_part()
