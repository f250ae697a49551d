"""Mutants judge the rules, so each mistake must be the one that it says, and a program without one its own."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn, optim

from bench.faults import run as runs
from bench.faults.case import Case
from bench.faults.causes import CAUSES
from bench.faults.judge import Said
from bench.faults.mutants.injection import Injection, MutantRun, Unrecorded
from bench.faults.mutants.learning import LATE
from bench.faults.mutants.operator import OPERATORS
from bench.faults.mutants.profile import Profile, profile
from bench.faults.mutants.table import by_operator, lines
from bench.faults.mutants.trial import Mutant, pairs, trained
from bench.faults.run import Data, Run, train

STEPS = LATE + 2
X = torch.randn(96, 6, generator=torch.Generator().manual_seed(0))


def network(outputs: int, **kinds: type[nn.Module]) -> nn.Sequential:
    act = kinds.get("act", nn.ReLU)
    middle: list[nn.Module] = [act(), nn.Linear(8, 8), act(), nn.Linear(8, 8), act(), nn.Linear(8, 8), act()]
    if "norm" in kinds:
        middle = [nn.BatchNorm1d(8), nn.Dropout(0.1), *middle]
    return nn.Sequential(nn.Linear(6, 8), *middle, nn.Linear(8, outputs))


def classes(run: Run, faulty: bool) -> float:
    data = Data(X, (X[:, 0] > 0).long() + (X[:, 1] > 0).long(), X, X)
    model = network(3)
    train(run, model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.05), data, steps=STEPS)
    return float(run.answers(model, X).sum())


def normed(run: Run, faulty: bool) -> float:
    model = network(1, norm=nn.BatchNorm1d)
    criterion, optimiser = nn.BCEWithLogitsLoss(), optim.Adam(model.parameters(), lr=0.01)
    run.watch(model, criterion)
    for x, y in runs.batches(X, (X[:, :1] > 0).float(), steps=STEPS):
        optimiser.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimiser.step()
        run.step(loss)
    return float(run.answers(model, X).sum())


def numbers(run: Run, faulty: bool) -> float:
    data = Data(X, X.sum(1, keepdim=True), X, X)
    model = network(1, act=nn.ReLU)
    train(run, model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.01), data, steps=STEPS)
    return float(run.answers(model, X).sum())


PROGRAMS = (classes, normed, numbers)


class Kept:
    """What a run has left: its losses, its model, its weights at first and at last."""

    def __init__(self, program: Any, injection: Injection, folder: Path) -> None:
        kept = self

        class Keeping(Unrecorded):
            def put_into(self, model: nn.Module, loss: nn.Module | None) -> None:
                super().put_into(model, loss)
                kept.run, kept.model, kept.criterion = self, model, loss
                kept.first = [value.detach().clone() for value in model.parameters()]

        case = Case(name="tiny", says="", part="tuning", framework="torch", program=program, causes=("no_step",))
        self.told = trained(case, folder / "log", injection, Keeping)
        self.run: MutantRun
        self.model: nn.Module
        self.criterion: nn.Module | None
        self.first: list[torch.Tensor]

    @property
    def moved(self) -> list[bool]:
        return [not torch.equal(a, b) for a, b in zip(self.first, self.model.parameters(), strict=True)]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks as small as these are slower on several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def profiles() -> dict[str, Profile]:
    programs = {program.__name__: program for program in PROGRAMS}
    return {name: profile(_case(program)) for name, program in programs.items()}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Kept]:
    return {it.__name__: Kept(it, Injection(), tmp_path_factory.mktemp("sound") / it.__name__) for it in PROGRAMS}


def _case(program: Any) -> Case:
    return Case(name="tiny", says="", part="tuning", framework="torch", program=program, causes=("no_step",))


def test_a_profile_says_what_a_program_is(profiles: dict[str, Profile]) -> None:
    it = profiles["classes"]
    assert (it.amiss, it.models, it.criterion, it.reduction) == ("", 1, "CrossEntropyLoss", "mean")
    assert (it.x, it.y, it.x_shape, it.out_shape, it.last) == ("float", "int", [32, 6], [32, 3], "8")
    assert (it.hidden, it.affine, it.optimisers, it.clears, it.steps, it.passes) == (4, True, ["SGD"], True, True, True)
    assert (profiles["normed"].y, profiles["normed"].norms, profiles["normed"].dropouts) == ("binary", ["1"], ["2"])
    assert profiles["numbers"].y == "float"


def test_each_mistake_has_causes_that_there_are_and_fits_somewhere(profiles: dict[str, Profile]) -> None:
    assert len(OPERATORS) >= 50
    for it in OPERATORS.values():
        told = [it.causes(found) for found in profiles.values()]
        assert any(told), it.name
        assert all(name in CAUSES for causes in told for name in causes.split()), it.name
        assert not it.causes(Profile(amiss="watches no model"))


#: By mistake: what is so of a run that has it, beside the sound one.
SHOWS: dict[str, Callable[[Kept, Kept], object]] = {
    "rate_zero": lambda it, _: not any(it.moved),
    "rate_zero_soon": lambda it, _: any(it.moved) and it.run.losses[4] != it.run.losses[3],
    "no_step": lambda it, _: not any(it.moved),
    "no_backward": lambda it, _: not any(it.moved),
    "loss_detached": lambda it, _: not any(it.moved),
    "cleared_before_step": lambda it, _: not any(it.moved),
    "optimiser_of_a_copy": lambda it, _: not any(it.moved),
    "restored": lambda it, _: not any(it.moved),
    "head_only_in_optimiser": lambda it, _: it.moved[-2:] == [True, True] and not any(it.moved[:-2]),
    "frozen_but_head": lambda it, _: it.moved[-2:] == [True, True] and not any(it.moved[:-2]),
    "features_detached": lambda it, _: it.moved[-2:] == [True, True] and not any(it.moved[:-2]),
    "head_not_in_optimiser": lambda it, _: it.moved[-2:] == [False, False] and all(it.moved[:-2]),
    "rate_times1000_late": lambda it, own: it.run.losses[:LATE] == own.run.losses[:LATE],
    "evaluation_mode_late": lambda it, own: it.run.losses[:10] == own.run.losses[:10] and not it.model.training,
    "set_anew": lambda it, own: it.run.losses[:10] == own.run.losses[:10],
    "evaluation_mode": lambda it, _: not it.model.training,
    "loss_negated": lambda it, own: it.run.losses[-1] > own.run.losses[-1],
    "never_cleared": lambda it, own: it.run.losses[0] == own.run.losses[0],
    "summed": lambda it, own: math.isclose(it.run.losses[0], 32 * own.run.losses[0], rel_tol=1e-5),
    "no_activations": lambda it, _: not any(isinstance(each, nn.ReLU) for each in it.model.modules()),
    "sigmoids_in_a_deep_net": lambda it, _: sum(isinstance(each, nn.Sigmoid) for each in it.model.modules()) == 4,
    "biases_far_below_zero": lambda it, _: float(it.first[1].max()) == -20.0 and float(it.first[-1].min()) > -2.0,
    "all_zero": lambda it, _: not any(it.first[place].any() for place in (0, 2, 4)),
    "weights_times30": lambda it, own: torch.allclose(it.first[0], 30 * own.first[0]),
    "nll_of_scores": lambda it, _: type(it.criterion) is nn.NLLLoss,
    "cross_entropy_of_one_unit": lambda it, _: type(it.criterion) is nn.CrossEntropyLoss,
    "inputs_zero": lambda it, own: it.run.losses != own.run.losses and not it.moved[0],
    "flat_targets": lambda it, own: it.run.losses[0] != own.run.losses[0],
    "targets_times1000": lambda it, own: it.run.losses[0] > 1e5 * own.run.losses[0],
    "some_missing": lambda it, _: math.isnan(it.run.losses[-1]),
    "targets_with_gaps": lambda it, _: math.isnan(it.run.losses[-1]),
}


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_each_mistake_is_made(name: str, tmp_path: Path, profiles: dict[str, Profile], sound: dict[str, Kept]) -> None:
    it = OPERATORS[name]
    program = next(program for program in PROGRAMS if it.causes(profiles[program.__name__]))
    own = sound[program.__name__]
    made = Kept(program, it.make(profiles[program.__name__]), tmp_path)
    assert made.told["unfit"] == ""
    assert made.told["steps"] == STEPS
    same = made.run.losses == own.run.losses and all(map(torch.equal, made.model.parameters(), own.model.parameters()))
    assert not same or name == "norm_momentum"  # which nothing but an evaluation shows
    assert made.told["skill"] != own.told["skill"]
    assert SHOWS.get(name, lambda *_: True)(made, own)  # type: ignore[no-untyped-call]


def test_without_a_mistake_a_program_is_its_own_and_nothing_is_left_behind(
    tmp_path: Path, sound: dict[str, Kept]
) -> None:
    before = optim.Optimizer.__init__, torch.Tensor.backward, nn.Module.zero_grad, runs.batches
    run = Run(tmp_path / "log")
    skill = classes(run, False)
    run.close()
    assert run.losses == sound["classes"].run.losses
    assert skill == sound["classes"].told["skill"]
    assert before == (optim.Optimizer.__init__, torch.Tensor.backward, nn.Module.zero_grad, runs.batches)


def test_pairs_are_drawn_by_seed_in_turn_of_each_mistake(profiles: dict[str, Profile]) -> None:
    drawn = pairs(profiles, len(OPERATORS), 1)
    assert drawn == pairs(profiles, len(OPERATORS), 1)
    assert drawn != pairs(profiles, len(OPERATORS), 2)
    assert {name for name, _ in drawn} == set(OPERATORS)
    assert all(OPERATORS[name].causes(profiles[base]) for name, base in pairs(profiles, 1000, 0))


def test_figures_count_harmful_mutants_and_tell_what_misled_of_the_others() -> None:
    right = Said(3, True, None, True, (), ("not_learning in loss since 0 (no_update)",))
    wrong = Said(None, False, None, False, (), ())
    told = [
        Mutant("no_step", "a", "deep", harmful=True, causes=("no_step",), said=right),
        Mutant("no_step", "b", "deep", harmful=True, causes=("no_step",), said=wrong),
        Mutant("no_step", "c", "deep", harmful=False, causes=("no_step",), said=right, misleads=True),
        Mutant("no_step", "d", "deep", unfit="raises ValueError: no"),
    ]
    assert by_operator(told)[0][:5] == ("no_step", "2", "0.50", "0.50", "0.50")
    assert by_operator(told)[0][6:] == ("0.50", "1", "1", "1")
    assert [line.split(":")[0] for line in lines(told)] == ["not found", "harmless, misled"]
