"""Draws trainings, trains what is not trained yet, and judges all: python -m bench.sound."""

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.measure import save
from bench.sound.draw import setups
from bench.sound.judge import Verdict, figures, judged
from bench.sound.report import HELD_OUT, SOURCE, family_lines, seed_lines
from bench.zoo.judge import begin

FOLDER = Path(__file__).parent.parent.parent / "runs"


def main() -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.sound", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=400, metavar="N", help="trainings")
    parser.add_argument("--seed", type=int, default=1, help=f"what decides them; {HELD_OUT} is held out")
    parser.add_argument("--match", type=int, nargs="+", metavar="AT", help="these numbers alone; nothing is written")
    parser.add_argument("--logs", type=Path, metavar="FOLDER", help="where logs are kept; runs/sound-SEED")
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--stored", action="store_true", help="judge the logs that are there; train nothing")
    ways.add_argument("--train", action="store_true", help="train, and judge nothing")
    parser.add_argument("--keep", action="store_true", help="write the figures, beside those of other seeds")
    parser.add_argument("--wrong", action="store_true", help="list alarms of the held-out seed as well")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="trainings at a time")
    arguments = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    folder = arguments.logs or FOLDER / f"sound-{arguments.seed}"
    drawn = setups(arguments.seed, arguments.count)
    if arguments.match is not None:
        drawn = [drawn[at] for at in arguments.match]
    listed = arguments.wrong or arguments.seed != HELD_OUT
    told: list[Verdict] = []
    # A forked child of a process that has used threads of its own may hang.
    with ProcessPoolExecutor(arguments.jobs, get_context("spawn"), initializer=begin) as pool:
        get = partial(judged, folder=folder, stored=arguments.stored, judge=not arguments.train)
        for it in pool.map(get, drawn):
            if it is not None:
                told.append(it)
                for line in lines(it) if listed else ():
                    console.print(line, markup=False, soft_wrap=True)
    if arguments.train:
        return
    found = figures(told)
    for title, rows in (
        ("trainings drawn", seed_lines({str(arguments.seed): found})),
        ("by architecture", family_lines(found)),
    ):
        table = Table(title=title, box=None, padding=(0, 1, 0, 0))
        for column, left in zip(rows.header, rows.left, strict=True):
            table.add_column(column, justify="left" if left else "right", no_wrap=True)
        for row in rows.rows:
            table.add_row(*row)
        console.print(table)
    for kind, count in found["kinds"].items():
        console.print(f"{count} {kind}", markup=False)
    if arguments.keep and arguments.match is None:
        before = json.loads(SOURCE.read_text(encoding="utf-8")).get("seeds", {}) if SOURCE.exists() else {}
        save("sound", {"seeds": {**before, str(arguments.seed): found}}, console)


def lines(it: Verdict) -> list[str]:
    """What was said of a training that learned, and that one was not diagnosed."""
    where = f"{it.name} {it.family} on {it.source}, skill {it.skill:.2f}"
    if it.broken:
        return [f"broken: {where}: {it.broken}"]
    if not it.sound:
        last = next((alarm for alarm in it.alarms if alarm.kept), None)
        what = f"{last.condition} ({last.cause or 'cause unknown'})" if last else "not diagnosed"
        return [f"unsound: {where}: {what}"]
    return [f"sound: {where}: {len(it.alarms)} alarms"] + [
        f"  ALARM {alarm.condition} in {alarm.layer} ({alarm.cause or 'cause unknown'}), {alarm.severity}, step "
        f"{alarm.step}{', kept' if alarm.kept else ''}: {alarm.says}"
        for alarm in it.alarms
    ]


if __name__ == "__main__":
    main()
