"""Crosses mistakes with sound programs, and prints what is found of them: python -m bench.faults.mutants."""

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.faults.case import CASES, PARTS, Part
from bench.faults.mutants import report
from bench.faults.mutants.drawn import drawn_names
from bench.faults.mutants.operator import OPERATORS
from bench.faults.mutants.table import HEADER, by_family, by_operator, lines
from bench.faults.mutants.trial import Mutant, bases, mutant_by_name, pairs, profile_by_name, shuffled, twin_by_name
from bench.measure import save
from bench.zoo.judge import begin

#: What is held out is judged only where it is asked for, and then nothing but shares is told.
HELD_OUT: Part = "held-out"


def main() -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.faults.mutants", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", choices=PARTS, action="append", help="programs of this part; all but the held-out")
    parser.add_argument(
        "--drawn", type=int, metavar="SEED", help="of trainings drawn by this seed instead, 100 or as many as --bases"
    )
    parser.add_argument("--sample", type=int, default=400, metavar="N", help="mutants, in turn of each mistake one")
    parser.add_argument("--bases", type=int, metavar="N", help="of so many programs, drawn by the seed; all")
    parser.add_argument("--seed", type=int, default=0, help="which programs are drawn for each mistake")
    parser.add_argument("--operator", action="append", choices=sorted(OPERATORS), help="this mistake; several may be")
    parser.add_argument("--match", default="", metavar="TEXT", help="mutants with this in OPERATOR@BASE, of the sample")
    parser.add_argument(
        "--logs", type=Path, required=True, metavar="FOLDER", help="where logs are kept and found again"
    )
    parser.add_argument("--stored", action="store_true", help="only mutants whose logs are there: none is trained")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="mutants at a time")
    parser.add_argument("--list", action="store_true", help="list the mistakes and run none")
    parser.add_argument("--results", type=Path, metavar="FILE", help="write each mutant's verdict there, as JSON")
    parser.add_argument("--keep", action="store_true", help="write the figures, beside those of other seeds: --drawn")
    arguments = parser.parse_args()
    if arguments.keep and arguments.drawn is None:
        parser.error("--keep: want --drawn SEED")
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    if arguments.list:
        for mistake in OPERATORS.values():
            console.print(f"{mistake.name}: {mistake.says}", markup=False)
        return
    parts = arguments.part or [part for part in PARTS if part != HELD_OUT]
    told = _run(arguments, parts)
    for title, rows in (("mutants by mistake", by_operator(told)), ("by architecture", by_family(told))):
        table = Table(title=title, box=None, padding=(0, 1, 0, 0))
        for place, column in enumerate(HEADER):
            table.add_column(column, justify="right" if place else "left", no_wrap=True)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    if arguments.keep:
        before = (
            json.loads(report.SOURCE.read_text(encoding="utf-8")).get("seeds", {}) if report.SOURCE.exists() else {}
        )
        save("mutants", {"seeds": {**before, str(arguments.drawn): report.figures(told)}}, console)
    if HELD_OUT in parts or arguments.drawn == report.HELD_OUT:
        return
    for line in lines(told):
        console.print(line, markup=False, soft_wrap=True)
    for it in told:
        if it.unfit.startswith("raises"):
            console.print(f"unfit: {it.operator}@{it.base}: {it.unfit}", markup=False, soft_wrap=True)
    if arguments.results:
        arguments.results.write_text(json.dumps([it.plain() for it in told], indent=1), encoding="utf-8")


def _run(arguments: Any, parts: list[Part]) -> list[Mutant]:
    # A forked child of a process that has used threads of its own may hang.
    with ProcessPoolExecutor(arguments.jobs, get_context("spawn"), initializer=begin) as pool:
        names = bases(parts) if arguments.drawn is None else drawn_names(arguments.drawn, arguments.bases or 100)
        if arguments.bases:
            names = shuffled(sorted(names), f"{arguments.seed}")[: arguments.bases]
        parts_of: dict[str, Part] = {name: CASES[name].part if name in CASES else "tuning" for name in names}
        home = [parts_of[name] for name in names]
        looked = pool.map(partial(profile_by_name, logs=arguments.logs), names, home)
        profiles = dict(zip(names, looked, strict=True))
        if arguments.drawn is not None:  # about half of what is drawn does not learn
            learns = dict(zip(names, pool.map(partial(twin_by_name, logs=arguments.logs), names, home), strict=True))
            profiles = {name: it for name, it in profiles.items() if learns[name]}
        chosen = pairs(profiles, arguments.sample, arguments.seed)
        if arguments.operator:
            chosen = [pair for pair in chosen if pair[0] in arguments.operator]
        chosen = [(name, base) for name, base in chosen if arguments.match in f"{name}@{base}"]
        if arguments.stored:
            chosen = [(a, b) for a, b in chosen if (arguments.logs / "mutants" / f"{a}@{b}" / "skill.json").is_file()]
        used = sorted({base for _, base in chosen})
        list(pool.map(partial(twin_by_name, logs=arguments.logs), used, [parts_of[base] for base in used]))
        home = [parts_of[base] for _, base in chosen]
        return list(pool.map(partial(mutant_by_name, logs=arguments.logs), chosen, home))


if __name__ == "__main__":
    main()
