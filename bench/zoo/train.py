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
from typing import Any, Final

import torch
from torch import nn

import fastact.torch
from bench.zoo.data import TASKS, Task, load
from bench.zoo.faults import FAULTS, Training
from bench.zoo.nets import NETS
from bench.zoo.recipes import Network, Recipe
from bench.zoo.truth import Census, harm, onset
from fastact.fields import SCHEMA_VERSION
from fastact.monitor.monitor import ActivationMonitor

__all__ = ["FOLDER", "Run", "key", "train"]

#: Where the logs are kept; git ignores it.
FOLDER: Final = Path(__file__).parent.parent.parent / "runs" / "zoo"

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
    """

    recipe: Recipe
    path: Path
    skill: float
    losses: tuple[float | None, ...]
    dead: dict[str, float]

    def sickened(self, twin: "Run") -> bool:
        """Whether its fault did harm, next to its healthy twin."""
        return harm(self.skill, self.losses, twin.skill, twin.losses)

    def onset(self, twin: "Run") -> int:
        """The step from which on it is sick: `Sick.at`; for a slow fault that from which on the loss is worse."""
        fault = self.recipe.sick
        assert fault is not None
        return onset(self.losses, twin.losses, fault.at) if fault.slow else fault.at


def key(recipe: Recipe) -> str:
    """What a run depends on, as a short digest: the recipe, the zoo's source that it runs, and the log's schema."""
    training = recipe.training
    parts = [_source(training_loop), _source(TASKS[training.task]), _source(NETS[training.net])]
    facts: dict[str, Any] = {**dataclasses.asdict(training), "seeds": recipe.seed, "part": ""}
    if recipe.sick is not None:
        parts += [_source(FAULTS[name]) for name, _ in recipe.sick.plants]
        facts |= {"plants": recipe.sick.plants, "at": recipe.sick.at}
    facts |= {"python": sys.version_info[:2], "torch": torch.__version__, "schema": SCHEMA_VERSION}
    text = json.dumps(facts, sort_keys=True) + "".join(parts)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


#: What networks, data, faults and truth are made of.
_ZOO: Final = tuple(f"bench.zoo.{name}" for name in ("data", "faults", "nets", "train", "truth"))


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
                if (inspect.isfunction(other) or inspect.isclass(other)) and other.__module__ in _ZOO
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
    kept = json.loads(outcome.read_text(encoding="utf-8"))
    return Run(recipe, place / "log", kept["skill"], tuple(kept["losses"]), kept["dead"])


def training_loop(recipe: Recipe, path: Path) -> dict[str, Any]:
    """Trains, and gives the fields of `Run`."""
    it = recipe.training
    task = load(it.task)
    torch.manual_seed(recipe.seed)
    order = torch.Generator().manual_seed(1000 + recipe.seed)
    model = NETS[it.net](task.inputs, task.outputs, **it.options)
    model(task.train[0][:2])  # lazy layers learn their sizes
    training = Training(model, _optimizer(it, model))
    if it.before:
        plain = dataclasses.replace(training)
        for step in range(it.before):
            _step(plain, it, task, order, step, None)
        training.optimizer = _optimizer(it, model)
    plants = recipe.sick.plants if recipe.sick else ()
    scaler = torch.amp.GradScaler("cpu") if it.precision == "float16" else None
    losses: list[float | None] = []
    census = Census()
    with ActivationMonitor(path, metadata={"zoo": recipe.name}) as monitor:
        watch = fastact.torch.watch(model, monitor)
        for step in range(it.steps):
            if recipe.sick is not None and step == recipe.sick.at:
                for name, arguments in plants:
                    FAULTS[name](training, **arguments)
            loss = _step(training, it, task, order, step, scaler)
            losses.append(loss if math.isfinite(loss) else None)
            monitor.step()
            if recipe.sick is None and (step + 1) % (it.steps // CENSUSES) == 0:
                watch.remove()  # a census is no training step
                census.take(model, task.train[0])
                watch = fastact.torch.watch(model, monitor)
            if watch.failures:
                raise RuntimeError(f"{recipe.name}: outputs were not recorded")
        watch.remove()
    return {"skill": _skill(training, it, task), "losses": losses, "dead": census.dead}


def _optimizer(it: Network, model: nn.Module) -> torch.optim.Optimizer:
    options = {"momentum": it.momentum} if it.optimizer == "SGD" else {}
    made: torch.optim.Optimizer = getattr(torch.optim, it.optimizer)(model.parameters(), lr=it.rate, **options)
    return made


def _autocast(it: Network) -> torch.autocast:
    return torch.autocast("cpu", getattr(torch, it.precision or "bfloat16"), enabled=bool(it.precision))


def _step(
    training: Training,
    it: Network,
    task: Task,
    order: torch.Generator,
    step: int,
    scaler: torch.amp.GradScaler | None,
) -> float:
    """One training step; gives its loss."""
    model, optimizer = training.model, training.optimizer
    share = min(1.0, (step + 1) / it.warmup)
    if it.cosine:
        share *= 0.5 * (1.0 + math.cos(math.pi * step / it.steps))
    for group in optimizer.param_groups:
        group["lr"] = share * group.setdefault("initial_lr", group["lr"])
    x, y = task.train
    batch = torch.randint(len(x), (it.batch,), generator=order)
    with _autocast(it):
        answer = model(training.feed(x[batch]))
    loss = task.loss(answer, y[batch])
    total = training.sign * loss
    if training.penalty is not None:
        total = total + training.penalty()
    if training.clears:
        optimizer.zero_grad()
    (scaler.scale(total) if scaler else total).backward()
    if it.clip:
        nn.utils.clip_grad_norm_(model.parameters(), it.clip)
    if scaler:
        scaler.step(optimizer)
        scaler.update()
    else:
        optimizer.step()
    return float(loss.detach())


@torch.no_grad()
def _skill(training: Training, it: Network, task: Task) -> float:
    x, y = task.test
    training.model.eval()
    with _autocast(it):
        answer = torch.cat([training.model(training.feed(part)) for part in x.split(512)])
    skill = task.skill(answer, y)
    return round(skill, 4) if math.isfinite(skill) else 0.0
