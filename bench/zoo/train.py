"""Trains the recipes of the zoo, watched, and keeps each run's log and what came of it, keyed by its recipe."""

import dataclasses
import functools
import hashlib
import inspect
import json
import math
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import torch

import fastact.torch
from bench.zoo.data import TASKS
from bench.zoo.faults import FAULTS
from bench.zoo.nets import NETS
from bench.zoo.programs import PROGRAMS
from bench.zoo.recipes import Recipe
from bench.zoo.truth import Census, harm, onset
from fastact.fields import SCHEMA_VERSION
from fastact.monitor.monitor import ActivationMonitor

__all__ = ["FOLDER", "Run", "key", "stored", "train"]

#: Where the logs are kept; git ignores it.
FOLDER: Final = Path(__file__).parent.parent.parent / "runs" / "zoo"

#: Raise it when PyTorch's adapter records other rows of the same training: 2 has functions, places and modes.
ROWS: Final = 2

#: How often the dead neurons of a healthy run are counted over its training data.
CENSUSES: Final = 8


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a recipe.

    Attributes:
        recipe: what was done.
        path: the folder of its log.
        skill: on the test part, at the end; see `data.Task.skill`. 0 where an answer is not finite.
        losses: of each step; None where it is not finite.
        dead: for each layer of a healthy run with dead neurons the largest share of them; see `truth.Census`.
        compared: whether its losses tell harm, or its skill alone; see `Program.answers_loss`.
    """

    recipe: Recipe
    path: Path
    skill: float
    losses: tuple[float | None, ...]
    dead: dict[str, float]
    compared: bool

    def sickened(self, twin: "Run") -> bool:
        """Whether its fault did harm, next to its healthy twin."""
        if self.recipe.sick is not None and self.recipe.sick.certain:
            return True
        return harm(self.skill, self.losses, twin.skill, twin.losses, losses_tell=self.compared)

    def onset(self, twin: "Run") -> int:
        """The step from which on it is sick: `Sick.at`; for a slow fault that from which on the loss is worse."""
        fault = self.recipe.sick
        assert fault is not None
        return onset(self.losses, twin.losses, fault.at) if fault.slow and self.compared else fault.at


def key(recipe: Recipe) -> str:
    """What a run depends on, as a short digest: the recipe, the zoo's source that it runs, the adapter, the schema."""
    training = recipe.training
    parts = [_source(training_loop), _source(cast("Callable[..., Any]", PROGRAMS[training.program]))]
    parts += [_source(table[name]) for table, name in ((TASKS, training.task), (NETS, training.net)) if name]
    parts += [_source(FAULTS[name]) for name, _ in training.ways]
    facts: dict[str, Any] = {**dataclasses.asdict(training), "seeds": recipe.seed, "part": ""}
    del facts["flaws"]  # what is true of a run changes nothing in it
    if recipe.sick is not None:
        parts += [_source(FAULTS[name]) for name, _ in recipe.sick.plants]
        facts |= {"plants": recipe.sick.plants, "at": recipe.sick.at}
    facts |= {
        "python": sys.version_info[:2],
        "torch": torch.__version__,
        "schema": SCHEMA_VERSION,
        "rows": ROWS,
    }
    text = json.dumps(facts, sort_keys=True) + "".join(parts)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


#: What networks, data, programs, faults and truth are made of.
_ZOO: Final = tuple(f"bench.zoo.{name}" for name in ("data", "faults", "nets", "programs", "train", "truth"))


@functools.cache
def _source(thing: Callable[..., Any]) -> str:
    """The source of a function or class of the zoo, and of all functions and classes of the zoo that it names."""
    found: dict[str, str] = {}
    waiting = [thing]
    while waiting:
        item = waiting.pop()
        if item.__qualname__ not in found:
            text = found[item.__qualname__] = inspect.getsource(item)
            space = vars(sys.modules[item.__module__])
            named = [space.get(name) for name in sorted(set(re.findall(r"[A-Za-z_]\w*", text)))]
            waiting += [
                other
                for other in named
                if (inspect.isfunction(other) or inspect.isclass(other)) and other.__module__.startswith(_ZOO)
            ]
    return "".join(found[name] for name in sorted(found))


def train(recipe: Recipe, folder: Path = FOLDER, *, fresh: bool = False) -> Run:
    """The run of a recipe: that of before where nothing that it depends on has changed, else a new one.

    Args:
        recipe: what to train.
        folder: where logs are kept.
        fresh: whether to train in any case.
    """
    place = folder / f"{recipe.name}.{key(recipe)}"
    outcome = place / "outcome.json"
    if fresh or not outcome.is_file():
        for old in folder.glob(f"{recipe.name}.*"):
            shutil.rmtree(old)
        place.mkdir(parents=True)
        result = training_loop(recipe, place / "log")
        outcome.write_text(json.dumps(result), encoding="utf-8")
    return _kept(recipe, place)


def stored(recipe: Recipe, folder: Path = FOLDER) -> Run | None:
    """The run of a recipe that was trained last, whatever has changed since: by an older zoo, adapter or schema.

    What such a log lacks a rule of today cannot see in it. None: there is none.
    """
    places = [it for it in folder.glob(f"{recipe.name}.*") if (it / "outcome.json").is_file()]
    return _kept(recipe, max(places, key=lambda it: (it / "outcome.json").stat().st_mtime)) if places else None


def _kept(recipe: Recipe, place: Path) -> Run:
    kept = json.loads((place / "outcome.json").read_text(encoding="utf-8"))
    return Run(recipe, place / "log", kept["skill"], tuple(kept["losses"]), kept["dead"], kept["compared"])


def training_loop(recipe: Recipe, path: Path) -> dict[str, Any]:
    """Trains, and gives the fields of `Run`."""
    it = recipe.training
    program = PROGRAMS[it.program](it, recipe.seed)
    training = program.training
    if it.before:
        for step in range(it.before):
            program.step(step)
        training.optimizer = program.optimizer(program.model)
    for name, arguments in it.ways:
        FAULTS[name](training, **arguments)
    losses: list[float | None] = []
    census = Census()
    counted = program.samples() if recipe.sick is None else None
    with ActivationMonitor(path, metadata={"zoo": recipe.name}) as monitor:
        watch = fastact.torch.watch(program.model, monitor, gradients=it.gradients)
        for step in range(it.steps):
            if recipe.sick is not None and step == recipe.sick.at:
                for name, arguments in recipe.sick.plants:
                    FAULTS[name](training, **arguments)
            loss = program.step(step)
            losses.append(loss if math.isfinite(loss) else None)
            if it.evaluate and (step + 1) % it.evaluate == 0:
                program.check()
            monitor.step()
            if counted is not None and (step + 1) % (it.steps // CENSUSES) == 0:
                watch.remove()  # a census is no training step
                census.take(program.model, counted)
                watch = fastact.torch.watch(program.model, monitor, gradients=it.gradients)
            if watch.failures:
                raise RuntimeError(f"{recipe.name}: outputs were not recorded")
        watch.remove()
    skill = program.skill()
    return {
        "skill": round(skill, 4) if math.isfinite(skill) else 0.0,
        "losses": losses,
        "dead": census.dead,
        "compared": program.answers_loss,
    }
