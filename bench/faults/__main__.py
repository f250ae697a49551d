"""Trains the programs of faults and their twins, judges them, and prints the tables: python -m bench.faults."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

from bench.faults.case import PARTS, Case, cases
from bench.faults.causes import CAUSES, KINDS
from bench.faults.figures import LOOK_ALIKE, figures
from bench.faults.judge import Judged, judged_by_name, trained_by_name
from bench.faults.report import SOURCE, judge_lines, kind_lines
from bench.measure import save
from bench.zoo.judge import begin

T = TypeVar("T")


def main() -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", choices=PARTS, action="append", help="this part alone; may be given several times")
    parser.add_argument("--kind", choices=(*KINDS, LOOK_ALIKE), help="this kind of fault alone; nothing is written")
    parser.add_argument("--match", default="", metavar="TEXT", help="cases with this in their name; nothing is written")
    parser.add_argument("--list", action="store_true", help="list the cases and run none")
    parser.add_argument("--skills", action="store_true", help="train, and tell skills and seconds; no rule is asked")
    parser.add_argument("--keep", action="store_true", help="write the figures, beside what is stored of other parts")
    parser.add_argument(
        "--logs",
        type=Path,
        metavar="FOLDER",
        help="keep logs there, and judge those that are there without training; empty it when programs, or what is "
        "recorded, have changed",
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="cases at a time")
    arguments = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 220, highlight=False)
    results: dict[str, Any] = {}
    for part in arguments.part or PARTS:
        wanted = [it for it in cases([part]) if arguments.match in it.name and arguments.kind in (None, it.kind)]
        if arguments.list:
            _list(console, wanted)
            continue
        if arguments.skills:
            _skills(console, wanted, arguments.jobs, arguments.logs)
            continue
        pairs = _judged(console, wanted, arguments.jobs, arguments.logs)
        results[part] = figures(pairs)
        _show(console, part, results[part])
        # Whoever tunes rules sees nothing of what was said of the held-out part.
        for case, result in pairs if part != "held-out" else ():
            _tell(console, case, result)
    if arguments.keep and results and not (arguments.match or arguments.kind):
        stored = json.loads(SOURCE.read_text(encoding="utf-8")) if SOURCE.exists() else {"parts": {}}
        parts = {part: it for part in PARTS if (it := results.get(part) or stored["parts"].get(part))}
        save("faults", {"parts": parts, "when_held_out": stored.get("when_held_out", {})}, console)


def _judged(console: Console, wanted: list[Case], jobs: int, logs: Path | None) -> list[tuple[Case, Judged]]:
    judge = partial(judged_by_name, logs=logs)
    return list(zip(wanted, _of_each(console, judge, wanted, jobs), strict=True))


def _skills(console: Console, wanted: list[Case], jobs: int, logs: Path | None) -> None:
    train = partial(trained_by_name, logs=logs)
    for case, it in zip(wanted, _of_each(console, train, wanted, jobs), strict=True):
        skill = "-" if it.skill is None else f"{it.skill:.2f}"
        line = f"{case.name}: {skill}, repaired {it.twin_skill:.2f}, {it.steps} steps, {it.seconds:.1f} s"
        console.print(f"{line}  {it.fit and f'UNFIT {it.fit}'}".rstrip(), markup=False)


def _of_each(console: Console, made: Callable[[str], T], wanted: list[Case], jobs: int) -> list[T]:
    columns = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    # A forked child of a process that has used threads of its own may hang.
    with (
        ProcessPoolExecutor(jobs, get_context("spawn"), initializer=begin) as pool,
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
    ):
        return list(progress.track(pool.map(made, [case.name for case in wanted]), total=len(wanted)))


def _list(console: Console, wanted: list[Case]) -> None:
    for case in wanted:
        causes = ", ".join(case.causes) or LOOK_ALIKE
        console.print(f"{case.part}  {case.framework}  {case.name}: {case.says} [{causes}]", markup=False)
    told = {name for case in wanted for name in case.causes}
    for name in CAUSES:
        if name in told:
            console.print(f"{name} ({CAUSES[name].kind}): {CAUSES[name].says}", markup=False)


def _show(console: Console, part: str, results: dict[str, Any]) -> None:
    for it in (kind_lines(results), judge_lines(results)):
        table = Table(title=f"{part}: {results['cases']} cases", box=None, padding=(0, 1, 0, 0))
        for column, left in zip(it.header, it.left, strict=True):
            table.add_column(column, justify="left" if left else "right", no_wrap=True)
        for row in it.rows:
            table.add_row(*row)
        console.print(table)
    for line in results["left_out"]:
        console.print(f"left out: {line}", markup=False)


def _tell(console: Console, case: Case, it: Judged) -> None:
    if it.twin["fastact"].alarms:
        alarms = ", ".join(f"{condition} in {layer}" for condition, layer in it.twin["fastact"].alarms[:3])
        whose = "the twin of " if case.causes else ""
        console.print(f"alarm on {whose}{case.name}: {alarms}", markup=False)
    if not case.causes:
        return
    said = it.faulty["fastact"]
    words = "; ".join(said.words) or "nothing"
    if said.found is None:
        console.print(f"not found: {case.name} ({case.causes[0]}): {words}", markup=False)
    elif not said.right:
        console.print(f"wrong kind: {case.name} ({case.causes[0]}): {words}", markup=False)
    elif not said.first:
        console.print(f"not first: {case.name} ({case.causes[0]}): {words}", markup=False)


if __name__ == "__main__":
    main()
