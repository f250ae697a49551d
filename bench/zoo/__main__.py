"""Trains what is not trained yet, judges all of it, prints the tables and writes them: python -m bench.zoo."""

import argparse
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, get_args

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench.measure import save
from bench.zoo.judge import begin, judged
from bench.zoo.recipes import Part, recipes
from bench.zoo.report import SOURCE, answers, failures, kind_lines, lines

PARTS: tuple[Part, ...] = get_args(Part)


def main() -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.zoo", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", choices=PARTS, action="append", help="this part alone; may be given several times")
    parser.add_argument(
        "--keep", action="store_true", help="with --part: write it, beside what is stored of other parts"
    )
    parser.add_argument("--match", default="", metavar="TEXT", help="runs with this in their name; nothing is written")
    parser.add_argument("--wrong", action="store_true", help="also list what was got wrong in a held-out part")
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--fresh", action="store_true", help="train all anew")
    ways.add_argument(
        "--stored",
        action="store_true",
        help="train nothing: judge the logs that are there, whichever version recorded them; written with --keep alone",
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="runs at a time")
    arguments = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 140)
    results: dict[str, Any] = {}
    # A forked child of a process that has used threads of its own may hang.
    with ProcessPoolExecutor(arguments.jobs, get_context("spawn"), initializer=begin) as pool:
        for part in arguments.part or PARTS:
            columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
            with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
                task = progress.add_task(part, total=2 * sum(1 for _ in recipes(part)))

                def tick(what: str) -> None:
                    progress.update(task, advance=1, description=what)  # noqa: B023

                how = {"fresh": arguments.fresh, "old": arguments.stored, "pattern": arguments.match}
                results[part] = judged(part, pool, tick, **how)
            show(console, part, results[part], wrong=arguments.wrong or not part.startswith("held-out"))
    if arguments.match or ((arguments.part or arguments.stored) and not arguments.keep):
        return
    before = json.loads(SOURCE.read_text(encoding="utf-8")) if SOURCE.exists() else {}
    stored = before.get("parts", {}) if arguments.part else {}
    stored = {part: it for part, it in stored.items() if "kinds" in it}  # as they are told now
    parts = {part: it for part in PARTS if (it := results.get(part) or stored.get(part))}
    save("zoo", {"parts": parts, "when_held_out": before.get("when_held_out", {})}, console)


def show(console: Console, part: str, results: dict[str, Any], *, wrong: bool = True) -> None:
    """The scores of a part, what was left out, and what was got wrong."""
    own = results["scores"]["fastact"]
    title = f"{part}: {own['sick']} sick, {own['healthy']} healthy"
    for it in (kind_lines(results), lines(results["scores"])):
        table = Table(title=title, box=None, padding=(0, 1, 0, 0))
        for column, left in zip(it.header, it.left, strict=True):
            table.add_column(column, justify="left" if left else "right", no_wrap=True)
        for row in it.rows:
            table.add_row(*row)
        console.print(table)
    console.print(
        f"false alarms a healthy run {own['alarms_per_healthy_run']}, Poisson {own['alarms_poisson']}, by architecture "
        f"{own['alarms_by_architecture']}; notes {own['notes_per_healthy_run']}; right condition "
        f"{own['right_condition']}, right layer at the end {own['right_layer_at_end']}",
        highlight=False,
    )
    console.print(answers(own["answers"]).strip(), highlight=False)
    for line in results["left_out"]:
        console.print(f"left out: {line}", highlight=False)
    for line in failures(results["runs"]) if wrong else ():
        console.print(f"wrong: {line}", highlight=False)


if __name__ == "__main__":
    main()
