"""Where two runs part: how often healthy ones are said to, how often and how exactly sick ones are, and how fast.

python -m bench.compare                    # trains what is not trained yet, reads the zoo's logs, 2 x 5e6 rows
python -m bench.compare --zoo FOLDER       # logs of the zoo from elsewhere
python -m bench.compare --only pairs       # or zoo, or speed: nothing is written

Pairs: small networks (`bench.pairs`), some with other weights, some with another order of batches, some with a fault.
Zoo: healthy networks with two seeds each, and each sick run beside its healthy twin of the same seed; those that are
trained already. A run parts in time within as many steps after its fault as must differ in a row.
"""

import argparse
import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

import fastact
from bench.log import write
from bench.measure import save
from bench.pairs import pairs, train
from bench.zoo.judge import cases, good
from bench.zoo.recipes import Recipe, recipes
from bench.zoo.train import FOLDER, Run
from fastact.comparison.noise import SUSTAINED

PARTS = ("pairs", "zoo", "speed")
ROWS = 5_000_000


class Outcome(NamedTuple):
    """What came of one pair: its kind, the fault's step (None for healthy pairs), and where it was said to part."""

    kind: str
    since: int | None
    step: int | None
    names: str


def scores(outcomes: list[Outcome]) -> dict[str, Any]:
    """By kind: how many pairs, how many part, how many in time, how many before the fault."""
    found: dict[str, Any] = {}
    for kind in sorted({it.kind for it in outcomes}):
        own = [it for it in outcomes if it.kind == kind]
        parted = [it for it in own if it.step is not None]
        found[kind] = {"pairs": len(own), "part": len(parted)}
        if any(it.since is not None for it in own):
            late = [it.step - it.since for it in parted if it.step is not None and it.since is not None]
            found[kind] |= {
                "at the step": sum(steps in (0, 1) for steps in late),
                "in time": sum(0 <= steps <= SUSTAINED for steps in late),
                "before": sum(steps < 0 for steps in late),
            }
        found[kind]["names"] = [it.names for it in parted][:5] if own[0].since is None else []
    return found


def of_pairs() -> dict[str, Any]:
    """The outcomes of the small networks."""
    outcomes = []
    for pair in pairs():
        first = fastact.compare(train(pair.a), train(pair.b)).first
        step = None if first is None else first.step
        outcomes.append(Outcome(pair.kind, pair.since, step, f"{pair.a.name} {pair.b.name}"))
    return scores(outcomes)


def of_zoo(folder: Path) -> dict[str, Any]:
    """The outcomes of the zoo's runs that are there."""
    wanted = list(recipes())
    runs = {recipe.name: run for recipe in wanted if (run := _stored(recipe, folder)) is not None}
    known = [it for it in wanted if it.name in runs and it.twin.name in runs]
    outcomes = [
        Outcome("healthy", None, step, f"{a.recipe.name} {b.recipe.name}")
        for a, b in _seeds(runs)
        for step in [_step(a, b)]
    ]
    for case in cases(runs, known)[0]:
        if case.run.recipe.sick is not None:
            twin = runs[case.run.recipe.twin.name]
            # Rows tell of it since it was planted, whatever its loss says.
            since = case.run.recipe.sick.at
            kind = "sick later" if since else "sick from the start"
            outcomes.append(Outcome(kind, since, _step(twin, case.run), case.run.recipe.name))
    missed = [it.names for it in outcomes if it.since is not None and it.step is None]
    return scores(outcomes) | {"missed": missed}


def _seeds(runs: dict[str, Run]) -> Iterator[tuple[Run, Run]]:
    """Pairs of healthy runs of one network that differ in their seed, and have trained well."""
    healthy = [run for run in runs.values() if run.recipe.sick is None and run.skill >= good(run.recipe.network)]
    for _, group in itertools.groupby(healthy, key=lambda run: run.recipe.network.name):
        yield from itertools.islice(itertools.combinations(list(group), 2), 3)


def _step(a: Run, b: Run) -> int | None:
    first = fastact.compare(a.path, b.path).first
    return None if first is None else first.step


def _stored(recipe: Recipe, folder: Path) -> Run | None:
    place = next(iter(sorted(folder.glob(f"{recipe.name}.*/outcome.json"))), None)
    if place is None:
        return None
    kept = json.loads(place.read_text(encoding="utf-8"))
    return Run(recipe, place.parent / "log", kept["skill"], tuple(kept["losses"]), kept["dead"], kept["compared"])


def of_speed(rows: int = ROWS) -> dict[str, Any]:
    """Seconds and peak memory of a comparison, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        for name in "ab":
            write(Path(folder) / name, rows)
        code = "import sys; from bench.compare import timed; timed(*sys.argv[1:])"
        done = subprocess.run(
            [sys.executable, "-c", code, f"{folder}/a", f"{folder}/b"], capture_output=True, check=True
        )
    timings: dict[str, Any] = json.loads(done.stdout)
    return {"rows": rows, **timings}


def timed(a: str, b: str) -> None:
    """Prints the seconds and the peak memory in megabytes of one comparison."""
    begin, cpu = time.perf_counter(), time.process_time()
    fastact.compare(a, b)
    taken = {"seconds": time.perf_counter() - begin, "cpu_seconds": time.process_time() - cpu}
    print(json.dumps({**taken, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def main() -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--zoo", type=Path, default=FOLDER, help="where the zoo's logs are")
    parser.add_argument("--only", choices=PARTS, help="this part alone; nothing is written")
    arguments = parser.parse_args()
    measures: dict[str, Callable[[], dict[str, Any]]] = {
        "pairs": of_pairs,
        "zoo": lambda: of_zoo(arguments.zoo),
        "speed": of_speed,
    }
    console = Console()
    results = {name: measures[name]() for name in ([arguments.only] if arguments.only else PARTS)}
    console.print_json(json.dumps(results))
    if arguments.only is None:
        save("compare", results, console)


if __name__ == "__main__":
    main()
