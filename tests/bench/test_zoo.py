"""The zoo judges the diagnosis, so what it counts as sick, found, right and false must be right itself."""

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from operator import ge
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.zoo import truth
from bench.zoo.data import TASKS, load
from bench.zoo.faults import FAULTS, Training
from bench.zoo.programs import PROGRAMS
from bench.zoo.recipes import NETWORKS, SICK, Network, Part, Recipe, Sick, recipes
from bench.zoo.recipes.table import sick as planted
from bench.zoo.score import FUNCTIONS, JUDGES, verdicts
from bench.zoo.train import key, stored, train
from fastact.diagnosis.rules import RULES


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def sick(**fields: Any) -> Sick:
    return Sick(**{"network": "n", "fault": "f", "says": "", "conditions": frozenset({"dead"}), **fields})


SMALL = Network(name="small", part="tuning", task="wine", net="mlp", options={"width": 16}, steps=40, seeds=(0,))


# The table.


def test_the_table_is_large_enough_and_names_are_unique() -> None:
    names = [recipe.name for recipe in recipes()]
    assert len(names) == len(set(names)) >= 40
    for part in (
        "tuning",
        "held-out",
        "tuning-2",
        "opened",
        "opened-3",
        "opened-4",
        "opened-5",
        "opened-6",
        "held-out-7",
    ):
        kinds = Counter(recipe.sick is None for recipe in recipes(part))
        assert kinds[True] >= 20
        assert kinds[False] >= 20


def test_the_opened_part_was_held_out_by_architecture() -> None:
    sick_runs = Counter(recipe.sick is None for recipe in recipes("opened"))
    assert sick_runs[False] >= 60
    assert sick_runs[True] >= 100
    assert len({recipe.network.name for recipe in recipes("opened")}) >= 40
    tuned = {recipe.training.net for part in ("tuning", "tuning-2") for recipe in recipes(part)}
    tuned |= {recipe.training.program for part in ("tuning", "tuning-2") for recipe in recipes(part)}
    for recipe in recipes("opened"):
        assert not {recipe.training.net, recipe.training.program} - {"", "supervised", "routed"} & tuned


@pytest.mark.parametrize(
    ("part", "sizes"),
    [
        ("opened-3", (60, 100, 40)),
        ("opened-4", (80, 50, 25)),
        ("opened-5", (100, 70, 35)),
        ("opened-6", (110, 70, 35)),
        ("held-out-7", (180, 100, 50)),
    ],
    ids=["third", "fourth", "fifth", "sixth", "seventh"],
)
def test_the_later_parts_share_no_architecture_task_or_seed(part: Part, sizes: tuple[int, int, int]) -> None:
    held_out = list(recipes(part))
    counted = Counter(recipe.sick is None for recipe in held_out)
    found = counted[False], counted[True], len({recipe.network.name for recipe in held_out})
    assert all(map(ge, found, sizes))
    others = [recipe for recipe in recipes() if recipe.network.part != part]
    assert not {seed for it in others for seed in it.network.seeds} & {it.seed for it in held_out}
    for what in ("name", "net", "task", "program"):
        shared = {getattr(it.training, what) for it in others} & {getattr(it.training, what) for it in held_out}
        assert shared <= {"", "supervised"}
    kinds = {recipe.sick.kind for recipe in held_out if recipe.sick}
    assert kinds >= {"not learning", "adversaries", "evaluation", "attention", "lookup and routing", "number range"}


@pytest.mark.parametrize(("open_to_all", "apart"), [("tuning", "held-out"), ("tuning-2", "opened")])
def test_the_parts_share_no_network_no_data_and_no_seed(open_to_all: Part, apart: Part) -> None:
    tuning, held_out = list(recipes(open_to_all)), list(recipes(apart))
    for what in (
        lambda recipe: recipe.training.task.removesuffix("_raw"),
        lambda recipe: recipe.network.name,
        lambda recipe: recipe.seed,
        lambda recipe: (recipe.training.net, recipe.training.program, str(recipe.training.options)),
    ):
        assert not {what(recipe) for recipe in tuning} & {what(recipe) for recipe in held_out} - {""}


def test_every_fault_says_what_it_is_and_where() -> None:
    networks = {network.name: network for network in NETWORKS}
    conditions = {rule.condition for rule in RULES} | {"collapsed", "unused", "eval_shift"}
    built: dict[str, list[str]] = {}
    for fault in SICK:
        network = networks[fault.network]
        assert set(fault.seeds) <= set(network.seeds)
        assert fault.conditions
        assert fault.conditions <= conditions
        assert {name for name, _ in fault.plants} <= set(FAULTS)
        assert fault.plants or fault.changes
        assert 0 <= fault.at < network.steps
        assert fault.kind
        assert fault.causes
        recipe = Recipe(network, 0, fault)
        assert not recipe.training.task or recipe.training.task in TASKS
        if fault.layers:
            it = recipe.training
            made_of = f"{it.program} {it.net} {it.task} {it.options}"
            if made_of not in built:
                built[made_of] = [name for name, _ in PROGRAMS[it.program](it, 0).model.named_modules()]
            layers = ["input", "part.input", "loss", *built[made_of]]
            for pattern in fault.layers:
                place = pattern.partition(":")[0]
                # A function's name is not among the modules'.
                assert (
                    any(fnmatchcase(name, place) for name in layers)
                    or place.rpartition(".")[2].rstrip("*") in FUNCTIONS
                ), (recipe.name, pattern)


def test_what_a_fault_changes_is_what_is_trained() -> None:
    fault = sick(changes={"rate": 2.0, "options": {"act": "Tanh"}})
    training = Recipe(SMALL, 3, fault).training
    assert (training.rate, training.options) == (2.0, {"width": 16, "act": "Tanh"})
    assert Recipe(SMALL, 3, fault).twin == Recipe(SMALL, 3)


def test_what_is_planted_tells_the_kind_and_the_right_causes() -> None:
    plants = (("shift", {"layers": "fc1", "value": -9.0}),)
    fault = planted("net", "bias", "", "dead", "fc1", plants=plants)
    assert fault.kind == "dead units"
    assert fault.causes == {"initialisation"}
    assert fault.conditions == {"dead", "constant", "vanishing"}
    late = planted("net", "bias", "", "dead", "fc1", plants=plants, at=5)
    # Why weights jump under way nobody can tell for certain who sees activations alone.
    # It was sound before, and the rate is as it was: it is unknown, or known to have been set.
    assert late.causes == {"weights_replaced", "weights_reset", "set_anew", ""}
    assert late.conditions == {"dead", "constant", "vanishing", "drifting"}
    # Also where causes are given: a log-variance that somebody set.
    given = planted("net", "bias", "", "exploding", "fc1", plants=plants, at=5, causes="log_variance learning_rate")
    assert given.causes == {"log_variance", *late.causes}
    fed = planted("net", "missing", "", "non_finite", "fc1", plants=(("missing", {}),))
    assert fed.layers == ("fc1", "input*", "*.input*", "loss*")
    assert planted("net", "other", "", "dead", kind="depth", causes="depth -").causes == {"depth", ""}


def test_what_would_send_users_the_wrong_way_is_no_right_cause() -> None:
    pile = planted("net", "pile", "", "exploding", plants=(("pile", {}),))
    assert "no_zero_grad" in pile.causes
    climb = planted("net", "climb", "", "exploding", plants=(("climb", {}),), at=5)
    assert "wrong_sign" in climb.causes
    rate = planted("net", "rate", "", "exploding", changes={"rate": 9.0})
    assert rate.conditions == pile.conditions == climb.conditions >= {"not_learning", "oscillating"}
    assert not rate.causes & (pile.causes | climb.causes)
    for fault in SICK:
        # Another rate mends none of these.
        assert (
            not {"sparsity_penalty", "no_zero_grad", "wrong_sign"} & fault.causes or "learning_rate" not in fault.causes
        )
        # A loss that does not fall is told of the loss, wherever the fault is.
        assert "not_learning" not in fault.conditions or not fault.layers or "loss*" in fault.layers


# Truth.


def test_a_fault_is_harm_when_skill_or_late_loss_is_worse() -> None:
    good: list[float | None] = [1.0] * 9
    assert not truth.harm(0.86, good, 0.9, good)
    assert truth.harm(0.84, good, 0.9, good)
    assert not truth.harm(0.9, [9.0] * 6 + [1.2] * 3, 0.9, good)
    assert truth.harm(0.9, [1.0] * 6 + [1.4] * 3, 0.9, good)
    assert truth.harm(0.9, [1.0] * 8 + [None], 0.9, good)


def test_the_onset_is_where_the_loss_stays_worse() -> None:
    twin: list[float | None] = [1.0] * 60
    assert truth.onset([1.0] * 60, twin, 7) == 7
    # The median of nine follows five steps later; a bump that passes does not count.
    assert truth.onset([1.0] * 10 + [9.0] * 9 + [1.0] * 11 + [9.0] * 30, twin, 0) == 34
    assert truth.onset([1.0] * 30 + [None] * 30, twin, 0) == 34
    assert truth.onset([9.0] * 60, twin, 20) == 20


def test_a_census_counts_the_neurons_that_never_fire() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 10), torch.nn.BatchNorm1d(10), torch.nn.ReLU())
    norm = model[1]
    assert isinstance(norm, torch.nn.BatchNorm1d)
    norm.bias.data[:3] = -100.0
    state = {name: value.clone() for name, value in model.state_dict().items()}
    census = truth.Census()
    census.take(model, torch.randn(5000, 4))
    assert census.dead == {"2": 0.3}
    assert model.training
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    norm.bias.data[:3] = 0.0
    census.take(model, torch.randn(100, 4))
    assert census.dead == {"2": 0.3}  # the most there was


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_a_fault_does_what_it_says(name: str) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.BatchNorm1d(5))
    layer, norm = model
    assert isinstance(layer, torch.nn.Linear)
    before = layer.weight.detach().clone()
    training = Training(model, torch.optim.SGD(model.parameters(), lr=0.1))
    values: dict[str, dict[str, Any]] = {
        "spread": {"layers": "0", "std": 5.0}, "scale": {"layers": "0", "factor": 3.0},
        "shift": {"layers": "0", "value": -7.0, "share": 0.3}, "alike": {"layers": "0"}, "zero": {"layers": "0"},
        "channel": {"layers": "0", "factor": 3.0}, "take_turns": {"factor": 2.0},
        "rate": {"factor": 10.0}, "decay": {"value": 2.0}, "units": {"factor": 2.0, "offset": 1.0},
        "distance": {"layers": "0"}, "root": {"layers": "0"}, "shrink": {"factor": 1e-9}, "stale": {"momentum": 0.5},
        "garbage": {"layers": "0", "value": 7.0}, "sources": {"factor": 2.0, "period": 2}, "creep": {"factor": 2.0},
        "unknown": {"known": 1, "column": 2}, "uniform": {"layers": "0", "value": 0.5},
    }  # fmt: skip
    FAULTS[name](training, **values.get(name, {}))
    x = torch.ones(3, 6)
    group = training.optimizer.param_groups[0]
    done: dict[str, Callable[[], object]] = {
        "spread": lambda: layer.weight.std() > 3.0,
        "scale": lambda: torch.allclose(layer.weight, 3.0 * before),
        "shift": lambda: (layer.bias == -7.0).sum() == 2,
        "channel": lambda: torch.equal(layer.weight, torch.cat((3.0 * before[:1], before[1:]))),
        "take_turns": lambda: [float(training.feed(x).max()) for _ in range(4)] == [1.0, 2.0, 1.0, 2.0],
        "alike": lambda: (layer.weight == layer.weight[0]).all() and not (before == before[0]).all(),
        "zero": lambda: not layer.weight.any() and not layer.bias.any() and not layer.weight.requires_grad,
        "rate": lambda: group["lr"] == 1.0,
        "decay": lambda: group["weight_decay"] == 2.0,
        "units": lambda: (training.feed(x) == 3.0).all(),
        "blank": lambda: not training.feed(x).any(),
        "missing": lambda: training.feed(x).isnan().sum() == 1 and not x.isnan().any(),
        "empty": lambda: not training.feed(x)[0].any() and bool(training.feed(x)[1:].all()),
        "repeat": lambda: training.feed(torch.eye(3)).eq(torch.eye(3)[0]).all(),
        "shrink": lambda: not training.feed(x).any(),
        "stale": lambda: norm.momentum == 0.5,
        "garbage": lambda: 3 <= (layer.weight == 7.0).sum() < 10,
        "sources": lambda: [float(training.feed(x).max()) for _ in range(5)] == [1.0, 1.0, 2.0, 2.0, 1.0],
        "creep": lambda: [float(training.feed(x).max()) for _ in range(3)] == [2.0, 4.0, 8.0],
        "unknown": lambda: training.feed(5 * x)[0].tolist() == [5.0, 5.0, 1.0, 5.0, 5.0, 5.0] and (x == 1.0).all(),
        "uniform": lambda: (layer.weight == 0.5).all(),
        "wrapped": lambda: training.feed(torch.tensor([-1.2, -0.5, 0.5, 1.5])).tolist() == [255.0, 0.0, 0.0, 1.0],
        "logarithms": lambda: training.feed(torch.tensor([-1.0, 0.0])).tolist() == [-math.inf, 0.0],
        "wipe": lambda: _steps_in_vain(training, layer, x),
        "climb": lambda: training.sign == -1.0,
        "pile": lambda: not training.clears,
        "distance": lambda: _spoiled(training, layer),
        "root": lambda: _spoiled(training, layer),
    }
    assert done[name]()


def _steps_in_vain(training: Training, layer: torch.nn.Linear, x: torch.Tensor) -> bool:
    before = layer.weight.detach().clone()
    training.model(x + torch.eye(3, 6)).square().sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.any()
    training.optimizer.step()
    return torch.equal(layer.weight, before)


def _spoiled(training: Training, layer: torch.nn.Linear) -> bool:
    assert training.penalty is not None
    training.penalty().backward()
    assert layer.weight.grad is not None
    return bool(layer.weight.grad.isnan().any())


def test_a_fault_in_a_layer_that_is_not_there_is_refused() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(6, 5))
    training = Training(model, torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(ValueError, match="'fc9'"):
        FAULTS["zero"](training, layers="fc9")


# Training.


@pytest.mark.e2e
def test_a_run_is_trained_once_and_again_when_its_recipe_changes(tmp_path: Path) -> None:
    recipe = Recipe(SMALL, 0)
    assert stored(recipe, tmp_path) is None
    run = train(recipe, tmp_path)
    assert run.skill > load("wine").good
    assert len(run.losses) == SMALL.steps
    stamp = (run.path.parent / "outcome.json").stat().st_mtime_ns
    assert train(recipe, tmp_path) == run
    assert (run.path.parent / "outcome.json").stat().st_mtime_ns == stamp
    other = dataclasses.replace(recipe, network=dataclasses.replace(SMALL, rate=1e-3))
    assert key(other) != key(recipe)
    assert stored(other, tmp_path) == dataclasses.replace(run, recipe=other)  # whatever it was recorded by
    assert train(other, tmp_path).losses != run.losses
    assert not run.path.exists()  # the one before is not kept
    assert train(recipe, tmp_path).losses == run.losses


def test_the_key_follows_what_a_run_is_made_of() -> None:
    base = key(Recipe(SMALL, 0))
    assert key(dataclasses.replace(Recipe(SMALL, 0), network=dataclasses.replace(SMALL, part="held-out"))) == base
    assert key(Recipe(SMALL, 1)) != base
    faults = [sick(plants=(("zero", {"layers": "fc1"}),), at=at) for at in (0, 1)]
    assert len({base, *(key(Recipe(SMALL, 0, fault)) for fault in faults)}) == 3
    # What a fair judge may say of it changes nothing in the run.
    assert key(Recipe(SMALL, 0, dataclasses.replace(faults[0], conditions=frozenset({"constant"})))) == key(
        Recipe(SMALL, 0, faults[0])
    )


@pytest.mark.e2e
def test_a_planted_fault_is_found_in_its_layer_and_its_twin_is_healthy(tmp_path: Path) -> None:
    fault = sick(plants=(("shift", {"layers": "fc2", "value": -30.0}),), layers=("fc2", "act2"))
    run, twin = train(Recipe(SMALL, 0, fault), tmp_path), train(Recipe(SMALL, 0), tmp_path)
    assert run.sickened(twin)
    assert not twin.sickened(twin)
    found = verdicts(run, run.onset(twin), twin.dead)
    assert set(found) == set(JUDGES)
    assert found["fastact"].found is not None
    assert found["fastact"].layer
    assert verdicts(twin, 0, twin.dead)["fastact"].alarms == ()


def test_skill_is_what_it_says() -> None:
    task = load("wine")
    answers = torch.nn.functional.one_hot(task.test[1], 3).float()
    assert task.skill(answers, task.test[1]) == 1.0
    constant = torch.zeros_like(answers)
    constant[:, int(task.test[1].mode().values)] = 1.0
    assert task.skill(constant, task.test[1]) == pytest.approx(0.0, abs=1e-6)
    assert task.skill(answers * math.nan, task.test[1]) == 0.0
    numbers = load("diabetes")
    assert numbers.skill(numbers.test[1], numbers.test[1]) == 1.0
    assert numbers.skill(1e9 + numbers.test[1], numbers.test[1]) == -1.0
