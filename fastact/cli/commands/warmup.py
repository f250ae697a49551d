"""`fastact warmup`: compiles everything ahead."""

import os
from typing import Annotated, Final

import typer

from fastact.checks import check_choice
from fastact.cli.commands.info import cache_line
from fastact.errors import ArgumentValueError

_ABOUT_DTYPES: Final = "Only this element type, such as float32; may be repeated."
_ABOUT_ALL: Final = "All element types, integers and those of 8 bits too, not only the common floats: some minutes."
#: Seconds between looks at what has been compiled.
_LOOK: Final = 0.2


def warmup(
    dtypes: Annotated[list[str] | None, typer.Option("--dtype", metavar="NAME", help=_ABOUT_DTYPES)] = None,
    everything: Annotated[bool, typer.Option("--all", help=_ABOUT_ALL)] = False,
) -> None:
    """Compile sweeps ahead, so that no first call has to: for container images and shared cache folders.

    By default for float32, bfloat16, float16 and float64, in less than a minute on two CPUs. What came with the package
    for this CPU is taken as it is. The rest goes to FASTACT_CACHE_DIR, or to the user's cache folder; it fits this
    version and this CPU.
    """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, wait

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from fastact.arithmetic.element_types import ELEMENT_TYPES
    from fastact.cpu.cache import cache
    from fastact.cpu.jit import COMPILED
    from fastact.cpu.prebuilt import prebuilt_entry
    from fastact.cpu.threads import get_num_threads
    from fastact.cpu.warmup import DEFAULT, entry_points, quietly, warmup

    names = list(dict.fromkeys(dtypes or (ELEMENT_TYPES if everything else DEFAULT)))
    for name in names:
        check_choice("dtype", name, ELEMENT_TYPES)
    if not COMPILED:
        raise ArgumentValueError("NUMBA_DISABLE_JIT is set: got nothing to compile, want it unset")
    folder, problem, _ = cache()
    if folder is None:
        raise OSError(f"machine code cannot be kept: {problem}")
    before = {path.name for path in folder.glob("*.bin")}
    if not os.access(folder, os.W_OK) and not before:
        raise OSError(f"machine code cannot be kept: {folder} cannot be written")
    console = Console(stderr=True)
    wanted = set().union(*map(entry_points, names))
    shipped = {name for name in wanted if prebuilt_entry(name)}
    columns = TextColumn("compiling"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    # Numba compiles under one lock a process, so each worker is one; forked ones would inherit our threads' state.
    workers = min(get_num_threads(), len(names))
    with (
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
        ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), quietly) as pool,
    ):
        task = progress.add_task("", total=len(wanted))
        futures = [pool.submit(warmup, name) for name in names]
        waiting = set(futures)
        while waiting:
            _, waiting = wait(waiting, _LOOK)
            kept = {path.name.rpartition("-")[0] for path in folder.glob("*.bin")}
            progress.update(task, completed=len(wanted & (kept | shipped)))
        for future in futures:
            future.result()
    new = {path.name for path in folder.glob("*.bin")} - before
    came = f", {len(shipped)} came with the package" if shipped else ""
    print(f"{', '.join(names)}: {len(new)} entry points compiled{came}; {cache_line(folder)}")
