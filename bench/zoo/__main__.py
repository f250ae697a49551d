"""Trains what is not trained yet, judges all of it, prints the tables and writes them: python -m bench.zoo."""

import argparse
import os
import sys
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench.measure import save
from bench.zoo.data import load
from bench.zoo.recipes import Part, Recipe, recipes
from bench.zoo.report import failures, lines
from bench.zoo.score import JUDGES, Verdict, plain, scores, verdicts
from bench.zoo.train import Run, train

PARTS: tuple[Part, ...] = ("tuning", "held-out")


def judged(part: Part, tick: Callable[[Recipe], None], *, fresh: bool = False, pattern: str = "") -> dict[str, Any]:
    """The runs of a part and the scores of all judges.

    A network that did not train well is no healthy control, and a fault that did no harm makes no sick run: both are
    left out, and named.
    """
    runs: list[dict[str, Any]] = []
    left_out: list[str] = []
    healthy: dict[str, list[Verdict]] = {name: [] for name in JUDGES}
    sick: dict[str, list[Verdict]] = {name: [] for name in JUDGES}
    known: dict[str, Run] = {}

    def trained(recipe: Recipe) -> Run:
        if recipe.name not in known:
            known[recipe.name] = train(recipe, fresh=fresh)
        return known[recipe.name]

    for recipe in recipes(part):
        tick(recipe)
        if pattern not in recipe.name:
            continue
        run = trained(recipe)
        facts: dict[str, Any] = {"name": recipe.name, "fault": "", "skill": run.skill}
        onset, dead = 0, run.dead
        if recipe.sick is None:
            if run.skill < load(recipe.network.task).good:
                left_out.append(f"{recipe.name}: skill {run.skill:g}")
                continue
            facts |= {"dead": run.dead}
        else:
            twin = trained(recipe.twin)
            if not run.sickened(twin):
                left_out.append(f"{recipe.name}: no harm")
                continue
            onset, dead = run.onset(twin), twin.dead
            facts |= {"fault": recipe.sick.says, "twin_skill": twin.skill, "onset": onset}
        found = verdicts(run, onset, dead)
        for name, verdict in found.items():
            (healthy if recipe.sick is None else sick)[name].append(verdict)
        runs.append(facts | {"verdict": plain(found["fastact"])})
    return {
        "scores": {name: scores(healthy[name], sick[name]) for name in JUDGES},
        "left_out": left_out,
        "runs": runs,
    }


def main() -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.zoo", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", choices=PARTS, help="one part alone; nothing is written")
    parser.add_argument("--match", default="", metavar="TEXT", help="runs with this in their name; nothing is written")
    parser.add_argument("--fresh", action="store_true", help="train all anew")
    arguments = parser.parse_args()
    if hasattr(os, "nice"):
        os.nice(10)
    torch.set_num_threads(1)  # layers this small are slower on two threads than on one
    console = Console(width=None if sys.stdout.isatty() else 140)
    results: dict[str, Any] = {}
    for part in [arguments.part] if arguments.part else PARTS:
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task(part, total=sum(1 for _ in recipes(part)))

            def tick(recipe: Recipe) -> None:
                progress.update(task, advance=1, description=recipe.name)  # noqa: B023

            results[part] = judged(part, tick, fresh=arguments.fresh, pattern=arguments.match)
        show(console, part, results[part])
    if not (arguments.part or arguments.match):
        save("zoo", {"parts": results}, console)


def show(console: Console, part: str, results: dict[str, Any]) -> None:
    """The scores of a part, what was left out, and what was got wrong."""
    own = results["scores"]["fastact"]
    it = lines(results["scores"])
    table = Table(title=f"{part}: {own['sick']} sick, {own['healthy']} healthy", box=None, padding=(0, 1, 0, 0))
    for column, left in zip(it.header, it.left, strict=True):
        table.add_column(column, justify="left" if left else "right", no_wrap=True)
    for row in it.rows:
        table.add_row(*row)
    console.print(table)
    for line in results["left_out"]:
        console.print(f"left out: {line}", highlight=False)
    for line in failures(results["runs"]):
        console.print(f"wrong: {line}", highlight=False)


if __name__ == "__main__":
    main()
