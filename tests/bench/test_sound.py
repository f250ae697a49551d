"""Drawn trainings judge the rules, so the draw must be the same again, and what learned must be told without us."""

import dataclasses
import functools
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench.sound.draw import draw, setups
from bench.sound.families import families, network
from bench.sound.judge import Alarm, Verdict, figures, verdict
from bench.sound.losses import LOSSES, answers, fitting
from bench.sound.sources import SOURCES
from bench.sound.task import Goal, prepared, skill
from bench.sound.training import Outcome, kept, train

#: One source for each form of input and goal, and each family with each form once.
KINDS = {(it.form, it.goal): name for name, it in SOURCES.items() if it.form != "image" or "digit" in name}
PAIRED = {(family, form): name for (form, goal), name in KINDS.items() for family in families(form, goal)}
CASES = sorted({(name, family) for (family, _), name in PAIRED.items()})
data = functools.cache(lambda source: prepared(SOURCES[source], "unit"))
PLACES = torch.tensor([[0, 1], [1, 1]])


def test_draws_are_the_same_however_many_are_asked_for() -> None:
    assert setups(3, 12)[:7] == setups(3, 7)
    assert draw(3, 5) != dataclasses.replace(draw(4, 5), name="3-5")
    assert {draw(3, at).family for at in range(300)} == {family for _, family in CASES}


@pytest.mark.parametrize(("source", "family"), CASES)
def test_each_family_answers_each_kind_of_task_that_it_can_do(source: str, family: str) -> None:
    drawn = draw(0, 1)
    task = data(source)
    setup = dataclasses.replace(
        drawn, source=source, family=family, width=8, depth=2, norm="layer", activation="ReLU", initial="orthogonal"
    )
    inputs, wanted = tuple(each[:5] for each in task.train[0]), task.train[1][:5]
    for name in fitting(task.goal, "unit"):
        fit = LOSSES[name]
        given, targets = answers(task.goal, network(setup, task, fit.last() if fit.last else None)(*inputs), wanted)
        loss = fit.criterion(task)(given, targets)
        assert math.isfinite(loss.item())
        loss.backward()


@pytest.mark.parametrize(
    ("goal", "wanted", "perfect", "constant"),
    [
        ("classes", torch.tensor([0, 1, 2, 2, 2]), torch.eye(3)[[0, 1, 2, 2, 2]], torch.tensor([[0.0, 0.1, 3.0]] * 5)),
        ("next", PLACES, torch.eye(2)[PLACES], torch.tensor([[[0.0, 1.0]] * 2] * 2)),
        ("binary", torch.tensor([0.0, 1, 1, 1]), torch.tensor([-1.0, 1, 1, 1]), torch.ones(4)),
        ("labels", torch.eye(3), torch.eye(3) - 0.5, -torch.ones(3, 3)),
        ("numbers", torch.tensor([[1.0], [2.0], [6.0]]), torch.tensor([[1.0], [2.0], [6.0]]), torch.full((3, 1), 3.0)),
    ],
)
def test_skill_is_one_of_the_truth_and_none_of_a_constant(
    goal: Goal, wanted: Tensor, perfect: Tensor, constant: Tensor
) -> None:
    assert skill(goal, perfect, wanted) == pytest.approx(1.0)
    assert skill(goal, constant, wanted) == pytest.approx(0.0, abs=1e-6)
    assert skill(goal, perfect * torch.nan, wanted) == 0.0


def test_of_pairs_skill_is_the_share_that_finds_its_own_other_view() -> None:
    views = torch.eye(4)
    nothing = torch.empty(0)
    assert skill("pair", torch.cat([views, views], -1), nothing) == pytest.approx(1.0)
    assert skill("pair", torch.cat([views, torch.ones(4, 4)], -1), nothing) == pytest.approx(0.0)


def test_a_training_is_found_again_and_judged(tmp_path: Path) -> None:
    setup = dataclasses.replace(
        draw(0, 1, "iris"), family="mlp", width=16, depth=1, activation="ReLU", norm="", dropout=0.0, initial="",
        optimizer="Adam", rate=0.01, decay=0.0, schedule="", clip="", bfloat16=False, scale="standard",
        loss="cross entropy", batch=32, accumulate=1, steps=60, evaluate=20,
        watch={"loss": "criterion", "gradients": True, "updates": True},
    )  # fmt: skip
    outcome = train(setup, tmp_path)
    assert outcome.sound
    assert outcome.skill > 0.8
    assert kept(setup, tmp_path) == outcome
    assert kept(dataclasses.replace(setup, rate=0.02), tmp_path) is None
    told = verdict(outcome)
    assert told.sound
    assert not told.alarms
    assert not dataclasses.replace(outcome, skill=0.1).sound
    assert not dataclasses.replace(outcome, losses=outcome.losses[::-1]).sound


def test_only_what_was_said_of_sound_trainings_is_an_alarm() -> None:
    alarm = Alarm("fc", "dead", "", "warning", 9, kept=False, says="")
    good = Verdict("1-0", "iris", "mlp", 0.9, sound=True, broken="", alarms=(alarm, alarm), notes=1)
    quiet = dataclasses.replace(good, alarms=())
    bad = dataclasses.replace(good, sound=False, alarms=(dataclasses.replace(alarm, kept=True),))
    missed = dataclasses.replace(bad, alarms=(alarm,))
    found = figures([good, quiet, bad, missed, dataclasses.replace(bad, broken="ValueError")])
    assert (found["sound"], found["unsound"], found["broken"], found["alarms"], found["alarmed"]) == (2, 2, 1, 2, 1)
    assert found["alarms_per_sound_run"] == 1.0
    assert found["diagnosed"] == 0.5
    assert found["kinds"] == {"dead (cause unknown)": 2}


def test_a_loss_that_did_not_fall_is_not_sound() -> None:
    outcome = Outcome(draw(0, 1, "iris"), Path(), 1.0, (1.0,) * 60)
    assert not outcome.sound
    assert not dataclasses.replace(outcome, losses=(2.0,) * 30 + (1.0,) * 29 + (None,)).sound
    assert dataclasses.replace(outcome, losses=(2.0,) * 30 + (1.0,) * 30).sound
