"""Trains and judges the runs of a part of the zoo, several at a time, each in a process of its own."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

import fastact
from bench.zoo.data import load
from bench.zoo.figures import scores
from bench.zoo.recipes import Network, Part, Recipe, recipes
from bench.zoo.score import JUDGES, Verdict, plain, verdicts
from bench.zoo.train import FOLDER, Run, stored, train

__all__ = ["Case", "begin", "cases", "good", "judge", "judged", "told"]


class Case(NamedTuple):
    """A run to be judged: the step from which on it is sick, the layers with dead neurons, and what is told of it."""

    run: Run
    onset: int
    dead: dict[str, float]
    facts: dict[str, Any]


def cases(runs: dict[str, Run], part: Iterable[Recipe]) -> tuple[list[Case], list[str]]:
    """The runs to be judged, and those left out, with the reason.

    A network that did not train well is no healthy control and no twin, and a fault that did no harm makes no sick run.
    """
    result: list[Case] = []
    left_out: list[str] = []
    for recipe in part:
        run = runs[recipe.name]
        facts: dict[str, Any] = {"name": recipe.name, "fault": "", "skill": run.skill}
        if recipe.sick is None:
            if run.skill < good(recipe.network):
                left_out.append(f"{recipe.name}: skill {run.skill:g}")
            else:
                result.append(Case(run, 0, run.dead, facts | {"dead": run.dead}))
            continue
        twin = runs[recipe.twin.name]
        if twin.skill < good(recipe.network):
            left_out.append(f"{recipe.name}: its twin has a skill of {twin.skill:g}")
            continue
        if not run.sickened(twin):
            left_out.append(f"{recipe.name}: no harm")
            continue
        facts |= {
            "fault": recipe.sick.says,
            "kind": recipe.sick.kind,
            "twin_skill": twin.skill,
            "onset": run.onset(twin),
        }
        result.append(Case(run, run.onset(twin), twin.dead, facts))
    return result, left_out


def good(network: Network) -> float:
    """The skill from which on a network counts as trained."""
    return load(network.task).good if network.good is None else network.good


def judge(case: Case) -> dict[str, Verdict]:
    """What all judges say of a run."""
    return verdicts(case.run, case.onset, case.dead)


def judged(
    part: Part,
    pool: ProcessPoolExecutor,
    tick: Callable[[str], None],
    *,
    fresh: bool = False,
    old: bool = False,
    pattern: str = "",
    folder: Path = FOLDER,
) -> dict[str, Any]:
    """The runs of a part and the scores of all judges.

    Args:
        part: which.
        pool: of processes.
        tick: told of each run that was trained or judged.
        fresh: whether to train all anew.
        old: whether to train nothing and judge the logs that are there (`train.stored`).
        pattern: what a run must have in its name.
        folder: where logs are kept.
    """
    wanted = [recipe for recipe in recipes(part) if pattern in recipe.name]
    needed = {it.name: it for recipe in wanted for it in (recipe.twin, recipe)}
    runs: dict[str, Run] = {}
    get: Callable[[Recipe], Run | None] = (
        partial(stored, folder=folder) if old else partial(train, folder=folder, fresh=fresh)
    )
    for name, run in zip(needed, pool.map(get, needed.values()), strict=True):
        if run is not None:
            runs[name] = run
        tick(f"{part}: {'found' if old else 'trained'}")
    there = [recipe for recipe in wanted if {recipe.name, recipe.twin.name} <= runs.keys()]
    kept, left_out = cases(runs, there)
    left_out += [f"{recipe.name}: no log of it, or of its twin, is stored" for recipe in wanted if recipe not in there]
    pairs = []
    for case, found in zip(kept, pool.map(judge, kept), strict=True):
        pairs.append((case, found))
        tick(f"{part}: judged")
    return told(pairs, left_out)


def told(pairs: Iterable[tuple[Case, dict[str, Verdict]]], left_out: list[str]) -> dict[str, Any]:
    """What is stored of a part: the scores of all judges, those of each kind of fault, and what was said of runs."""
    healthy: dict[str, dict[str, list[Verdict]]] = {name: {} for name in JUDGES}
    sick: dict[str, dict[str, list[Verdict]]] = {name: {} for name in JUDGES}
    kinds: dict[str, dict[str, list[Verdict]]] = {}
    runs: list[dict[str, Any]] = []
    for case, found in pairs:
        recipe = case.run.recipe
        for name, verdict in found.items():
            group = healthy if recipe.sick is None else sick
            group[name].setdefault(recipe.network.name, []).append(verdict)
        if recipe.sick is not None:
            kinds.setdefault(recipe.sick.kind, {}).setdefault(recipe.network.name, []).append(found["fastact"])
        runs.append(case.facts | {"verdict": plain(found["fastact"])})
    return {
        "scores": {name: scores(healthy[name], sick[name]) for name in JUDGES},
        "kinds": {kind: scores({}, groups) for kind, groups in sorted(kinds.items())},
        "architectures": len(healthy["fastact"]),
        "left_out": left_out,
        "runs": runs,
    }


def begin() -> None:
    """Makes a process a polite one."""
    if hasattr(os, "nice"):
        os.nice(max(10 - os.nice(0), 0))
    torch.set_num_threads(1)  # layers this small are slower on two threads than on one
    fastact.set_num_threads(1)
