"""Mistakes in trainings that were drawn: each reaches the training, and without one it is what was drawn."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bench.faults.judge import Said
from bench.faults.mutants import report
from bench.faults.mutants.drawn import drawn, drawn_names
from bench.faults.mutants.injection import Injection
from bench.faults.mutants.operator import OPERATORS
from bench.faults.mutants.profile import Profile, profile
from bench.faults.mutants.trial import Mutant, trained
from bench.sound.draw import draw
from bench.sound.sources import SOURCES
from bench.sound.training import trained as trained_plainly

#: An MLP of 14 neurons a layer on a table, 60 steps of 4 samples.
SMALL = 45
NAME = f"drawn-3-{SMALL}"


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks as small as these are slower on several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_what_takes_two_tensors_is_left_out() -> None:
    names = drawn_names(3, 40)
    assert len(names) == 40
    for name in names:
        source = SOURCES[draw(3, int(name.rpartition("-")[2])).source]
        assert source.form != "graph"
        assert source.goal != "pair"
    assert drawn("another") is None


def test_without_a_mistake_it_is_the_training_that_was_drawn(tmp_path: Path) -> None:
    case = drawn(NAME)
    assert case is not None
    told = trained(case, tmp_path / "log", Injection())
    plain = trained_plainly(draw(3, SMALL), None)
    assert told["unfit"] == ""
    assert told["steps"] == draw(3, SMALL).steps
    assert told["skill"] == pytest.approx(plain.skill, abs=1e-4)


@pytest.mark.parametrize("name", ["no_step", "rate_zero", "inputs_zero", "labels_constant", "never_cleared"])
def test_a_mistake_reaches_it(tmp_path: Path, name: str) -> None:
    case = drawn(NAME)
    assert case is not None
    it: Profile = profile(case)
    injection = OPERATORS[name].make(it)
    told = trained(case, tmp_path / "log", injection)
    assert told["unfit"] == ""
    assert injection.touched >= 1
    sound = trained_plainly(draw(3, SMALL), None).skill
    assert told["skill"] != pytest.approx(sound, abs=1e-3)


def mutant(base: str, skill: float, *, first: bool) -> Mutant:
    said = Said(3 if first else None, first, None, first, (), ())
    harmful = skill < 0.5
    return Mutant("no_step", base, "mlp", "", skill, 0.9, harmful, ("no_step",), said, misleads=not first)


def test_figures_are_of_what_harms_with_intervals_over_trainings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of each training all are found, or none: ten trainings are ten cases, however many mutants they have.
    harmful = [mutant(f"drawn-29-{at}", 0.1, first=at < 5) for at in range(10) for _ in range(40)]
    told = report.figures([*harmful, mutant("drawn-29-0", 0.8, first=False), Mutant("no_step", "drawn-29-0", "mlp")])
    assert (told["mutants"], told["bases"], told["harmless"], told["misled"], told["unfit"]) == (400, 10, 1, 1, 1)
    assert told["found"] == told["first"] == 0.5
    low, high = told["intervals"]["found"]
    assert low <= 0.25
    assert high >= 0.75
    source = tmp_path / "mutants.json"
    machine = {"python": "3.11", "versions": {}}
    source.write_text(json.dumps({"date": "2026-12-01", "machine": machine, "seeds": {"29": told, "22": told}}))
    monkeypatch.setattr(report, "SOURCE", source)
    assert "| seed 29, held out | 1 | 400 of 10 trainings | 0.50 (" in report.mutants_part()
    assert report.figures([])["found"] is None
