"""The command line. Each command imports what it needs when it runs, so `fastact --help` costs next to nothing.

Exit codes: 0 fine, 1 findings (or a demo that did not go as it must), 2 an error, told in one line on stderr.
Names of layers and paths come from outside; they are shown escaped and never read as markup.
"""

import contextlib
import dataclasses
import enum
import functools
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, ParamSpec

import typer

from fastact.checks import check_choice
from fastact.errors import ArgumentValueError, FastactError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from fastact.diagnosis.report import LayerHealth
    from fastact.files import ArrayStats
    from fastact.replay.log import Log, Record
    from fastact.replay.tail import Tail

__all__ = ["app", "main"]

P = ParamSpec("P")

#: As a shell reports a program that SIGINT or SIGPIPE ended.
_INTERRUPTED: Final = 130
_PIPE_CLOSED: Final = 141
#: Wide enough for every table when the output is no terminal, so that nothing is cut.
_FILE_WIDTH: Final = 200
#: Prose is read in lines of some length, on a wide screen as well.
_PAGE_WIDTH: Final = 100

app = typer.Typer(
    name="fastact",
    help="Finds and explains dead, saturated, exploding and vanishing layers, live in training and from a log.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run's directory, or the parent of its ranks' directories.")]
Rank = Annotated[int | None, typer.Option(help="Whose rows to judge; by default those of all ranks, merged.")]
Window = Annotated[int | None, typer.Option(min=1, help="Rows per layer to judge by; by default the monitor's own.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print strict JSON and nothing else.")]


def main() -> None:
    """Runs the command line; the entry point of `fastact` and of ``python -m fastact``."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):  # a stream of somebody else's making
            # A terminal that cannot show a sign shows its escape.
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


def _command(function: Callable[P, int | None]) -> Callable[P, None]:
    """Registers a command whose result is the exit code, and turns what ends it into a line and an exit code."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = function(*args, **kwargs) or 0
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader has gone (`| head`). What Python still flushes at its exit must find an open file.
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = _PIPE_CLOSED
        except KeyboardInterrupt:
            code = _INTERRUPTED
        except (FastactError, OSError) as error:
            _complain(f"error: {error}")
            code = 2
        raise typer.Exit(code)

    app.command()(guarded)
    return guarded


def _complain(line: str) -> None:
    from fastact.text import shown

    print(shown(" ".join(line.split()), limit=2000), file=sys.stderr)


def _console() -> "Console":
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(highlight=False, width=_FILE_WIDTH)
    return console


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> None:
    """Prints a table whose first `left` columns are text and whose others are numbers."""
    _show(_grid(head, rows, left=left))


def _grid(head: Sequence[str], rows: Iterable[Sequence[str]], *, left: int) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(show_edge=False, pad_edge=False)
    for i, title in enumerate(head):
        table.add_column(title, justify="left" if i < left else "right", overflow="fold", no_wrap=i >= left)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _show(renderable: "RenderableType") -> None:
    """Prints it, where a table needs that in lines longer than the terminal: rich would cut its numbers."""
    console = _console()
    least = console.measure(renderable, options=console.options.update(width=_FILE_WIDTH)).minimum
    console.width = max(console.width, least)
    console.print(renderable)


def _open(run: Path) -> "Log":
    from fastact.replay.log import open_log

    return open_log(run)


@contextlib.contextmanager
def _reading(what: str, total: int) -> "Iterator[Callable[[int], None]]":
    """What to tell the bytes read so far: a bar on stderr, where that is a terminal, until it is over."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = TextColumn(what), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total)
        # Rich takes 10 µs for an update; it draws ten a second.
        seen = 0

        def told(count: int) -> None:
            nonlocal seen
            if count - seen >= total // 256:
                seen = count
                progress.update(task, completed=count)

        yield told


def _warn(log: "Log") -> None:
    """Says on stderr what is missing of a log that has been read."""
    for line in log.warnings:
        _complain(f"warning: {line}")


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        from fastact import __version__

        print(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        raise typer.Exit(2)


@_command
def demo(
    out: Annotated[Path, typer.Option(help="Where the logs go; replaced at every run.")] = Path("runs/demo"),
    steps: Annotated[int, typer.Option(min=1, help="Training steps for each network.")] = 300,
) -> int:
    """Train real networks, one healthy and five sick, and watch, log, diagnose and replay each."""
    from fastact.demo import run

    problems = run(out, steps, _console())
    for problem in problems:
        _complain(f"failed: {problem}")
    return 1 if problems else 0


class Severity(enum.StrEnum):
    """From which severity on a finding counts."""

    warning = "warning"
    serious = "serious"
    critical = "critical"


def _print_schema(wanted: bool) -> None:
    if wanted:
        from fastact.diagnosis.schema import report_schema

        print(json.dumps(report_schema(), indent=2))
        raise typer.Exit


@_command
def diagnose(
    run: Run,
    as_json: AsJson = False,
    json_schema: Annotated[
        bool,
        typer.Option(
            "--json-schema", is_eager=True, callback=_print_schema, help="Print the JSON Schema of --json and exit."
        ),
    ] = False,
    window: Window = None,
    rank: Rank = None,
    thresholds: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Thresholds from a TOML file, instead of the run's own.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Judge by others' published rules: naive, sagemaker, deepdiagnosis, ....")
    ] = None,
    fail_on: Annotated[
        Severity, typer.Option(help="The least severity that makes the exit code 1.")
    ] = Severity.warning,
) -> int:
    """Say what is wrong in a run, where, since when, and what to try. Exit code 1 when something is."""
    del json_schema  # it has ended the program by itself, since it needs no run
    from fastact.diagnosis.finding import SEVERITIES
    from fastact.diagnosis.report import render_rich
    from fastact.diagnosis.rules import Thresholds

    log = _open(run)
    limits = None if thresholds is None else Thresholds.from_toml(thresholds)
    with _reading("reading", log.nbytes) as progress:
        diagnosis = log.diagnose(limits, window_size=window, rank=rank, preset=preset, progress=progress)
    _warn(log)
    if as_json:
        print(diagnosis.to_json(indent=2))
    else:
        _show(render_rich(diagnosis))
    counts = SEVERITIES[SEVERITIES.index(fail_on.value) :]
    return int(any(finding.severity in counts for finding in diagnosis.findings))


@_command
def explain(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Conditions or frameworks, such as 'saturated'.")
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Print the Markdown as it is written.")] = False,
) -> None:
    """Show the page on a condition (what it is, how it is found, what to do) or a framework; without a name, list."""
    from rich.markdown import Markdown

    from fastact.pages import FOLDERS, explain
    from fastact.pages import names as pages

    if not names:
        for folder, about in FOLDERS.items():
            print(f"{about}: {', '.join(pages(folder))}")
        return
    texts = [explain(name) for name in names]
    if raw:
        print("\n".join(texts), end="")
        return
    console = _console()
    console.width = min(console.width, _PAGE_WIDTH)
    for text in texts:
        console.print(Markdown(text))


@_command
def layers(run: Run, window: Window = None, rank: Rank = None) -> None:
    """Show the layers of a run in forward order: their last numbers and their health."""
    log = _open(run)
    with _reading("reading", log.nbytes) as progress:
        diagnosis = log.diagnose(window_size=window, rank=rank, progress=progress)
    _warn(log)
    _show(_health(diagnosis.layers))


def _health(layers: "Iterable[LayerHealth]") -> "Table":
    """The health of layers as a table."""
    from fastact.text import number, percent, shown

    head = ("layer", "kind", "status", "mean", "std", "dead", "saturated", "rows", "first", "last")
    rows = (
        (
            shown(layer.name),
            shown(layer.kind, 30),
            f"{layer.status} ({layer.severity})" if layer.severity else layer.status,
            *("-" if value is None else number(value) for value in (layer.mean, layer.std)),
            *("-" if share is None else percent(share) for share in (layer.dead, layer.saturated)),
            f"{layer.rows:,}",
            *("-" if step is None else str(step) for step in (layer.first_step, layer.last_step)),
        )
        for layer in layers
    )
    return _grid(head, rows, left=3)


@_command
def replay(
    run: Run,
    first: Annotated[int | None, typer.Option("--from", help="First step to show.")] = None,
    last: Annotated[int | None, typer.Option("--to", help="Last step to show, itself included.")] = None,
    layer: Annotated[str | None, typer.Option(help="Show only layers whose name matches, such as 'encoder.*'.")] = None,
) -> None:
    """Show a run row by row, as the monitor saw it; the progress is on stderr."""
    from fnmatch import fnmatchcase

    log = _open(run)
    names = [info.name for info in log.layers if layer is None or fnmatchcase(info.name, layer)]
    if layer is not None and not names:
        known = ", ".join(repr(info.name) for info in log.layers[:8])
        raise ArgumentValueError(f"layer: got {layer!r}, which matches none, want a pattern for one of {known}, ...")
    width = min(max([5, *map(len, names)]), 40)
    count = 0
    print(_replay_line("step", "rank", "layer", _COLUMNS, width))
    # On one terminal the rows themselves show how far it is, and a bar would write into them.
    with contextlib.nullcontext() if sys.stdout.isatty() else _reading("reading", log.nbytes) as progress:
        chosen = None if layer is None else names
        for record in log.replay(from_step=first, to_step=last, layers=chosen, progress=progress):
            print(_replay_row(record, width))
            count += 1
    sys.stdout.flush()
    _warn(log)
    print(f"{count:,} rows", file=sys.stderr)


_COLUMNS: Final = ("count", "mean", "std", "min", "max", "zeros", "saturated", "nan", "inf", "neurons", "dead")


def _replay_line(step: str, rank: str, layer: str, cells: Iterable[str], width: int) -> str:
    return f"{step:>8} {rank:>4}  {layer:<{width}} " + " ".join(f"{cell:>11}" for cell in cells)


def _replay_row(record: "Record", width: int) -> str:
    from fastact.text import shown

    stats, neurons = record.stats, record.neurons or {}
    cells = (
        str(stats.count),
        *(f"{value:.5g}" for value in (stats.mean, stats.std, stats.min, stats.max)),
        *(str(value) for value in (stats.zeros, stats.saturated, stats.nans, stats.infs)),
        *(str(neurons.get(name, "-")) for name in ("neurons", "dead_neurons")),
    )
    return _replay_line(str(record.step), str(record.rank), shown(record.layer, width), cells, width)


@_command
def stats(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help=".npy, .safetensors, .arrow or .parquet.")],
    axis: Annotated[int | None, typer.Option(help="Also sweep per neuron along it (.npy, .safetensors).")] = None,
    saturation: Annotated[tuple[float, float], typer.Option(metavar="LO HI", help="What is outside is saturated.")] = (
        -0.99,
        0.99,
    ),
    as_json: AsJson = False,
) -> int:
    """Sweep the arrays of files: .npy and .safetensors are mapped, .arrow and .parquet are read batch by batch."""
    from fastact.files import sweep_file
    from fastact.text import shown

    found: list[tuple[Path, ArrayStats]] = []
    failed = False
    for path in files:
        try:
            found.extend((path, array) for array in sweep_file(path, axis=axis, saturation=saturation))
        except (FastactError, OSError) as error:
            _complain(f"error: {error}")
            failed = True
    if as_json:
        print(json.dumps([_array_dict(path, array) for path, array in found], indent=2, allow_nan=False))
    elif found:
        several = len(files) > 1
        head = (["file"] if several else []) + ["array", "dtype", *_STATS, *(_NEURONS if axis is not None else ())]
        rows = (([path.name] if several else []) + _array_cells(array, axis) for path, array in found)
        _table(head, ([shown(cell) for cell in row] for row in rows), left=3 if several else 2)
    return 2 if failed else 0


_STATS: Final = ("shape", "mean", "std", "min", "max", "zero", "saturated", "nan", "inf", "null")
_NEURONS: Final = ("neurons", "dead neurons")


def _array_cells(array: "ArrayStats", axis: int | None) -> list[str]:
    from fastact.text import percent

    s = array.stats
    cells = [array.name or "-", array.dtype, "x".join(map(str, array.shape)) or "scalar"]
    cells += [f"{value:.5g}" for value in (s.mean, s.std, s.min, s.max)]
    cells += [percent(share) if s.count else "-" for share in (s.zero_ratio, s.saturation_ratio)]
    cells += [f"{value:,}" for value in (s.nans, s.infs, array.nulls)]
    if axis is not None:
        dead = array.neurons.dead() if array.neurons is not None else None
        cells += ["-", "-"] if dead is None else [f"{dead.size:,}", f"{int(dead.sum()):,}"]
    return cells


_SUMMARY: Final = (
    *("count", "mean", "std", "min", "max", "abs_mean", "rms"),
    *("zeros", "saturated", "nans", "pos_infs", "neg_infs"),
)


def _array_dict(path: Path, array: "ArrayStats") -> dict[str, Any]:
    result = {
        "file": str(path),
        "array": array.name,
        "dtype": array.dtype,
        "shape": list(array.shape),
        "nulls": array.nulls,
        **{name: _plain(getattr(array.stats, name)) for name in _SUMMARY},
    }
    if array.neurons is not None:
        neurons = array.neurons
        result["neurons"] = {name: [_plain(x) for x in getattr(neurons, name).tolist()] for name in _SUMMARY}
    return result


def _plain(value: Any) -> Any:
    """A number as strict JSON has it: null where there is none."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


@_command
def export(
    run: Run,
    to: Annotated[Path, typer.Option(metavar="FILE", help="A .parquet, .csv or .jsonl file.")],
    force: Annotated[bool, typer.Option("--force", help="Replace the file if there is one.")] = False,
) -> None:
    """Write all rows of a run to one file for other programs; what they mean goes along.

    Parquet holds that itself; beside a .csv or .jsonl file it is in FILE.meta.json.
    """
    from fastact.replay.export import export

    log = _open(run)
    with _reading("exporting", log.nbytes) as progress:
        rows = export(log, to, force=force, progress=progress)
    _warn(log)
    print(f"{rows:,} rows to {to}", file=sys.stderr)


@_command
def recover(
    run: Run,
    to: Annotated[Path, typer.Option(metavar="DIR", help="The directory to make; it must not be there.")],
) -> None:
    """Write a whole copy of a damaged run, which any Arrow reader opens; the run itself is not touched."""
    from fastact.replay.recover import recover

    log = _open(run)
    with _reading("copying", log.nbytes) as progress:
        rows = recover(log, to, progress=progress)
    for line in log.warnings:
        _complain(f"lost: {line}")
    print(f"{rows:,} rows to {to}", file=sys.stderr)


@_command
def tail(
    run: Run,
    rank: Annotated[int | None, typer.Option(help="Whose rows to follow; by default the lowest rank's.")] = None,
    window: Window = None,
    every: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds between two looks.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Show how it is now, and end.")] = False,
) -> None:
    """Watch a run while it is written: its last step and each layer's health, until it is closed or Ctrl-C.

    What is no terminal gets a line for each look that found something new.
    """
    import time

    from rich.live import Live

    from fastact.replay.tail import Tail

    state = Tail(run, window_size=window, rank=rank, lost=lambda what: _complain(f"warning: {what}"))
    console = _console()
    state.look()
    if once:
        _show(_tail_view(state, None))
        return
    with contextlib.suppress(KeyboardInterrupt):
        if console.is_terminal:
            with Live(_tail_view(state, console.height), console=console, auto_refresh=False) as live:
                while not state.closed:
                    time.sleep(every)
                    state.look()
                    live.update(_tail_view(state, console.height), refresh=True)
        else:
            print(_tail_line(state), flush=True)
            while not state.closed:
                time.sleep(every)
                if state.look():
                    print(_tail_line(state), flush=True)


def _tail_line(state: "Tail") -> str:
    from fastact.text import shown

    sick = [f"{shown(f.layer, 40)} {f.condition} ({f.severity})" for f in state.diagnose().culprits]
    return f"{_tail_facts(state)}: {', '.join(sick) or 'nothing wrong was found'}"


def _tail_facts(state: "Tail") -> str:
    whose = "" if state.rank is None else f"rank {state.rank}, "
    if state.step is None:
        return f"{whose}no rows yet"
    return f"{whose}step {state.step:,}, {state.rows:,} rows, {state.rate:,.0f} rows/s{', closed' * state.closed}"


def _tail_view(state: "Tail", height: int | None) -> "RenderableType":
    """The state in at most `height` lines: where not all layers fit, the sick ones come first."""
    from rich.console import Group
    from rich.text import Text

    layers = list(state.diagnose().layers)
    parts: list[RenderableType] = [Text(_tail_facts(state))]
    room = len(layers) if height is None else max(1, height - 5)
    if len(layers) > room:
        left = len(layers) - room
        layers = sorted(layers, key=lambda layer: not layer.severity)[:room]
        parts.append(Text(f"{left} more layers do not fit; the sick ones are shown first"))
    return Group(*parts, _health(layers))


@_command
def bench(
    elements: Annotated[
        list[int] | None,
        typer.Option("--elements", "-n", min=1, help="Size of a buffer; may be repeated. By default 1e3 to 1e7."),
    ] = None,
    dtype: Annotated[str, typer.Option(metavar="NAME", help="float32, float64 or float16.")] = "float32",
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each contestant, whose median is shown.")] = 7,
    as_json: AsJson = False,
) -> None:
    """Time a sweep on this machine beside NumPy and PyTorch doing the same, and beside a bare read of memory."""
    from rich.console import Console
    from rich.status import Status

    from fastact.benchmark import DEFAULT_SIZES, measure
    from fastact.benchmark.figures import duration, multiple, size
    from fastact.benchmark.turns import load_warning

    measured = measure(elements or DEFAULT_SIZES, dtype, rounds=rounds)
    if (warning := load_warning()[1]) is not None:
        _complain(warning)
    with Status("measuring", console=Console(stderr=True)):
        rows = list(measured)
    if as_json:
        print(json.dumps([dataclasses.asdict(row) for row in rows], indent=2))
        return
    peers = [name for name in rows[0].seconds if name not in ("fastact", "read")]
    head = ("elements", "dtype", "fastact", "GB/s", "of read", *(f"x {name}" for name in peers))
    cells = [
        (
            size(row.elements),
            row.dtype,
            duration(row.seconds["fastact"]),
            f"{row.bandwidth / 1e9:.1f}",
            multiple(row.ratios["read"]),
            *(multiple(row.ratios[name]) + "†" * (name in row.wrong) for name in peers),
        )
        for row in rows
    ]
    _table(head, cells, left=0)
    print(
        "Medians of calls by turns, warm, answers compared first. x: how many times longer others take for the same"
        " numbers.\nof read: the time of reading the bytes and doing nothing else over that of summarize."
    )
    if any(row.wrong for row in rows):
        print("† its mean or std is off by more than rounding explains.")


@_command
def info() -> None:
    """Show the versions and the machine that fastact sees, and whether there is a GPU."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from fastact import __version__
    from fastact.cpu.jit import COMPILED, cache
    from fastact.cpu.threads import get_num_threads
    from fastact.cuda.info import gpu_line

    rows = [("fastact", __version__), ("python", f"{platform.python_version()} on {platform.platform()}")]
    for name in ("numpy", "numba", "pyarrow", "torch", "scikit-learn", "ml_dtypes", "numba-cuda"):
        try:
            rows.append((name, version(name)))
        except PackageNotFoundError:
            rows.append((name, "not installed"))
    rows.append(("machine", f"{platform.machine()}, {os.cpu_count()} CPUs"))
    rows.append(("threads", f"{get_num_threads()} (fastact's own; Numba's threading layers are not used)"))
    if COMPILED:
        folder, problem = cache()
        rows.append(("machine code", _cache_line(folder) if folder is not None else f"not kept: {problem}"))
    else:
        rows.append(("machine code", "none: NUMBA_DISABLE_JIT is set, and sweeps run as plain Python"))
    rows.append(("gpu", gpu_line()))
    _table(("what", "value"), rows, left=2)


def _cache_line(folder: Path) -> str:
    sizes = [path.stat().st_size for path in folder.glob("*.bin")]
    access = "" if os.access(folder, os.W_OK) else ", read-only"
    return f"{len(sizes)} entry points, {sum(sizes) / 1e6:.1f} MB{access}, in {folder}"


@_command
def warmup(
    dtypes: Annotated[
        list[str] | None,
        typer.Option("--dtype", metavar="NAME", help="Only this element type, such as float32; may be repeated."),
    ] = None,
) -> None:
    """Compile everything ahead, so that no first call has to: for container images and shared cache folders.

    The machine code goes to FASTACT_CACHE_DIR, or to the user's cache folder; it fits this version and this CPU.
    """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from fastact.arithmetic.element_types import ELEMENT_TYPES
    from fastact.cpu.jit import COMPILED, cache
    from fastact.cpu.sweep_many import warmup
    from fastact.cpu.threads import get_num_threads

    names = list(dict.fromkeys(dtypes or ELEMENT_TYPES))
    for name in names:
        check_choice("dtype", name, ELEMENT_TYPES)
    if not COMPILED:
        raise ArgumentValueError("NUMBA_DISABLE_JIT is set: got nothing to compile, want it unset")
    folder, problem = cache()
    if folder is None:
        raise OSError(f"machine code cannot be kept: {problem}")
    before = {path.name for path in folder.glob("*.bin")}
    if not os.access(folder, os.W_OK) and not before:
        raise OSError(f"machine code cannot be kept: {folder} cannot be written")
    console = Console(stderr=True)
    columns = (
        TextColumn("compiling"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    # Numba compiles under one lock a process, so each worker is one; forked ones would inherit our threads' state.
    workers = min(get_num_threads(), len(names))
    with (
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
        ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        task = progress.add_task("", total=len(names))
        futures = {pool.submit(warmup, name): name for name in names}
        for future in as_completed(futures):
            future.result()
            progress.update(task, advance=1, description=futures[future])
    new = {path.name for path in folder.glob("*.bin")} - before
    print(f"{', '.join(names)}: {len(new)} entry points compiled; {_cache_line(folder)}")
