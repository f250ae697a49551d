"""Renders what was measured and printed, so that no figure is typed by hand.

The README's parts between markers, bench/results/README.md with all tables, and bench/results/sweep.svg.

python -m scripts.readme             # writes them
python -m scripts.readme --check     # exit code 1 when they are not what the recorded results say
python -m scripts.readme --capture   # first runs `fastact demo` and records what it prints
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import RESULTS
from bench.faults.mutants.report import SOURCE as MUTANTS
from bench.faults.mutants.report import mutants_part
from bench.faults.report import SOURCE as FAULTS
from bench.faults.report import faults_part
from bench.sound.report import SOURCE as SOUND
from bench.sound.report import sound_part
from bench.tables import (
    ablation_table,
    bound_table,
    cost_table,
    log_table,
    many_table,
    markdown,
    neurons_table,
    record_table,
    scale_table,
    start_table,
    sweep_table,
    tight_table,
    watch_table,
)
from bench.zoo.report import SOURCE as ZOO
from bench.zoo.report import zoo_part
from scripts.plot import PLOT, digest, draw

README = Path(__file__).parent.parent / "README.md"
PAGE = RESULTS / "README.md"
SWEEP = RESULTS / "sweep.json"
WATCH = RESULTS / "watch.json"
DEMO = RESULTS / "demo.txt"
#: The rows that the README shows; the page beside the results has all.
SHOWN_ROWS = [
    *((10**power, "float32") for power in (3, 5, 7, 8)),
    *((10**8, dtype) for dtype in ("bfloat16", "float16", "int8")),
]
#: The network of the demo whose part the README shows; all of it would be too long.
SHOWN = "saturated"


_COMPARED = (
    "Time of a call, median of up to {rounds} rounds by turns, warm. x: how many times longer it takes than fastact; "
    "*: gives fewer numbers; -: cannot do it.{off} of read: the time of a bare read of the bytes over fastact's. What "
    "each contestant runs:\n\n{asked}"
)
_NEURONS = (
    f"{_COMPARED}\n\narithmetic: what threads could fold, did nothing come from memory; at most: what share of a "
    "read that allows (the next section)."
)
#: The sections of bench/results/README.md: a benchmark's name, its title, its table, and a note into which its results
#: are put, and what `off` and `asked` make of them.
SECTIONS: tuple[tuple[str, str, Callable[..., Any], str], ...] = (
    ("sweep", "Whole tensors, by size and dtype", sweep_table, f"![GB/s by size]({PLOT.name})\n\n{_COMPARED}"),
    ("neurons", "Per neuron, float32", neurons_table, _NEURONS),
    (
        "bound",
        "What bounds a sweep per neuron",
        bound_table,
        (
            "The loop that the compiler emits for float32, counted: vector instructions, loads and the rest for a "
            "vector of 64 bytes; what each of its instructions takes alone, by turns with an addition and by turns "
            "with a product that is added at once (fma). Half of the units do sums, the other half products and "
            "comparisons; a vector takes as long as the busier half, and half of all. GB/s: what one thread and two "
            "could fold, did nothing come from memory; in cache: what one does where the second cache holds all. Where "
            "a bare read of the table above is faster than two threads can fold, its share is at most their quotient "
            "(`python -m bench.bound`)."
        ),
    ),
    (
        "tight",
        "A call in a tight loop",
        tight_table,
        (
            "{elements:,} float32 elements, median of up to {rounds} rounds by turns, warm. Peers are asked "
            "for what the first section says, so those marked with * there for fewer numbers."
        ),
    ),
    (
        "many",
        "Many small tensors",
        many_table,
        (
            "`summarize_many` beside a loop over `summarize`: time of a tensor, median of {rounds} by turns,"
            " warm, answers equal bit for bit."
        ),
    ),
    (
        "ablation",
        "What machinery gains",
        ablation_table,
        (
            "The same with and without it, median of {rounds} rounds by turns in one process (`python -m"
            " bench.ablation`). For the OpenMP team: what watching adds to a training step. Equal things: what two"
            " equal contestants differ by. Below 1% of a step or 10% of a call a piece would go."
        ),
    ),
    (
        "start",
        "From nothing to the first answer",
        start_table,
        (
            "Whole processes from start to end, median of {rounds} rounds by turns, disk caches warm. The "
            "first call is on 1,000 float32 elements from numpy, whose import is part of it. numbagg is also"
            " shown with its own cache on (NUMBAGG_CACHE=1)."
        ),
    ),
    (
        "log",
        "The log",
        log_table,
        (
            "Rows of 20 numbers of {layers} layers, their moments random; files warm in the system's cache, "
            "median of {rounds} rounds by turns. Event files hold one scalar a record and are read by "
            "tensorboard's own loader."
        ),
    ),
    (
        "scale",
        "How time grows with layers, ranks and rows",
        scale_table,
        (
            "Each thing at four sizes or more, of which the first and the last are shown, in a process of its own; the "
            "fastest of up to three rounds, files warm in the system's cache. MB: the peak of the whole process. "
            "exponent: the power of the size that the time grows with, fitted to all sizes: 1 is linear (`python -m"
            " bench.scale`)."
        ),
    ),
    (
        "watch",
        "What watching costs a training step",
        watch_table,
        (
            "Training steps (forward, backward, AdamW) in turns of {steps}, by turns in one process with one"
            " model, up to {rounds} rounds. slower: the median of the rounds over the bare turn of the same "
            "round. What each does:\n\n{asked}"
        ),
    ),
    (
        "record",
        "What watching costs beside the sweep, and the bytes of a row",
        record_table,
        (
            "Of each layer, 1,000 float32 elements: a bare `summarize`, `record`, and its share of `step`, medians of "
            "{rounds} rounds by turns in one process; in brackets the mean of all steps, with the rows that the "
            "diagnosis follows many at a time. Alerts: `on_finding`, a diagnosis at each tenth step. What is timed is "
            "checked: the rows in history and log, and the diagnosis of both. Bytes are those of rows of the demo's "
            "healthy network."
        ),
    ),
)


def where(results: dict[str, Any]) -> str:
    """The machine, the versions and the day of a measurement."""
    it = results["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in it["versions"].items())
    load = results["load_before"]
    busy = f" Others kept this machine busy (load {load:.1f}): the figures are not worth much." if load > 0.5 else ""
    return f"{it['cpu']}, {it['threads']} threads, Python {it['python']}, {versions}; {results['date']}.{busy}"


def asked(results: dict[str, Any]) -> str:
    """A list of what each contestant runs."""
    return "\n".join(f"- {name}: {what}" for name, what in results.get("asked", {}).items())


def off(results: dict[str, Any]) -> str:
    """The contestants whose mean or std is off by more than rounding explains, and by how much at most."""
    worst: dict[str, float] = {}
    for row in results["rows"]:
        for name, error in row.get("off", {}).items():
            worst[name] = max(error, worst.get(name, 0.0))
    found = ", ".join(f"{name} by up to {error:.1g} std" for name, error in worst.items())
    return f" † mean or std is off by more than rounding of the result explains: {found}." if found else ""


def sweep_part() -> str:
    """The picture, some rows of the table, and what was compared, where and when."""
    results = json.loads(SWEEP.read_text())
    rows = [row for row in results["rows"] if (row["elements"], row["dtype"]) in SHOWN_ROWS]
    note = (
        f"Time of a call, median, warm, by turns in one process, answers compared first. {where(results)} "
        "x: how many times longer others take for the same numbers; compile is torch.compile. "
        f"* has only four or five of these numbers.{off(results)} of read: the time of reading the bytes and doing "
        "nothing else, as fast as this machine can, over the time of `summarize`; small buffers are read from a cache, "
        "and there the cost of a call outweighs the reading. [All sizes, dtypes, per neuron, tight loop, cold start, "
        "and what each runs](bench/results/README.md); `python -m bench` measures it all in some minutes."
    )
    picture = f"![GB/s by size, and the machine's read limit]({PLOT.relative_to(README.parent)})"
    return f"{picture}\n\n{markdown(sweep_table({**results, 'rows': rows}))}\n\n{note}"


def page() -> str:
    """bench/results/README.md: all tables of the benchmarks that have results."""
    places = []
    parts = ["# Benchmarks", "Made by `python -m scripts.readme` from what `python -m bench` recorded."]
    for name, title, table, note in SECTIONS:
        source = RESULTS / f"{name}.json"
        if source.exists():
            results = json.loads(source.read_text())
            numbers = {**results, "asked": asked(results), "off": off(results) if "{off}" in note else ""}
            parts += [f"## {title}", markdown(table(results)), note.format(**numbers)]
            places.append(where(results))
    # Measured by one command, they share these.
    parts += ["## Where", *dict.fromkeys(places)]
    return "\n\n".join(parts) + "\n"


def watch_part() -> str:
    """What watching adds to a training step, beside other ways to watch."""
    results = json.loads(WATCH.read_text())
    note = (
        f"What watching every layer, per neuron, adds to a training step: median of rounds by turns. {where(results)} "
        "outputs: bytes of all watched outputs of a step. nothing, again: by how much two equal trainings differ. one "
        "look: torch.amax of each output, which reads each of them once; to pay less than that, look at fewer steps "
        "(every=10) or layers (layers=...). [Spread, and what each does](bench/results/README.md)."
    )
    return f"{markdown(cost_table(results))}\n\n{note}"


def demo_text() -> str:
    """One network of the demo, as `fastact demo` printed it when it was recorded."""
    shown: list[str] = []
    inside = False
    for line in DEMO.read_text().splitlines():
        heading = re.fullmatch(r"[─-]+ (.+?) [─-]+", line.strip())
        inside = heading[1] == SHOWN if heading else inside and line.strip() != "Summary"
        if inside:
            shown.append(line)
    if not shown:
        raise SystemExit(f"{DEMO}: want a section headed {SHOWN!r}; run: python -m scripts.readme --capture")
    return "```text\n" + "\n".join(shown).rstrip() + "\n```"


PARTS = {
    "sweep": (SWEEP, sweep_part),
    "watch": (WATCH, watch_part),
    "demo": (DEMO, demo_text),
    "zoo": (ZOO, zoo_part),
    "faults": (FAULTS, faults_part),
    "sound": (SOUND, sound_part),
    "mutants": (MUTANTS, mutants_part),
}


def rendered(text: str) -> str:
    """The README with each generated part as its recorded results have it; without results a part stays empty."""
    for name, (source, render) in PARTS.items():
        begin, end = f"<!-- {name}: made by python -m scripts.readme -->", f"<!-- {name}: end -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise SystemExit(f"README.md: want the markers {begin!r} and {end!r} once each")
        body = f"\n{render()}\n" if source.exists() else "\n"
        pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
        text = pattern.sub(lambda _, part=begin + body + end: part, text)  # type: ignore[misc]
    return text


def capture() -> None:
    """Runs the demo for real, 100 columns wide and without colours, and records what it prints."""
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    command = Path(sys.executable).with_name("fastact")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([command, "demo"], cwd=folder, env=environment, stdout=subprocess.PIPE, check=True)
    DEMO.parent.mkdir(exist_ok=True)
    DEMO.write_text("\n".join(line.rstrip() for line in done.stdout.decode().splitlines()) + "\n")


def main() -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.readme", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing, fail when the README is out of date")
    parser.add_argument("--capture", action="store_true", help="run the demo first and record its output")
    arguments = parser.parse_args()
    if arguments.capture:
        capture()
    texts = {README: rendered(README.read_text()), PAGE: page()}
    drawn = not SWEEP.exists() or (PLOT.exists() and digest(SWEEP) in PLOT.read_text())
    stale = [path for path, wanted in texts.items() if not path.exists() or path.read_text() != wanted]
    if arguments.check:
        if not drawn:
            stale.append(PLOT)
        if stale:
            names = ", ".join(str(path.relative_to(README.parent)) for path in stale)
            raise SystemExit(f"not what bench/results says: {names}; run: python -m scripts.readme")
        print("README.md, bench/results/README.md and sweep.svg agree with bench/results")
        return
    for path in stale:
        path.write_text(texts[path])
    if not drawn:
        draw(json.loads(SWEEP.read_text()), digest(SWEEP), PLOT)


if __name__ == "__main__":
    main()
