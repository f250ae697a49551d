"""`fastact warmup`: compiles everything ahead."""

import os
from typing import Annotated, Final

import typer

from fastact.checks import check_choice
from fastact.cli.commands.info import cache_line
from fastact.errors import ArgumentValueError

_ABOUT_DTYPES: Final = "Only this element type, such as float32; may be repeated."


def warmup(
    dtypes: Annotated[list[str] | None, typer.Option("--dtype", metavar="NAME", help=_ABOUT_DTYPES)] = None,
) -> None:
    """Compile everything ahead, so that no first call has to: for container images and shared cache folders.

    The machine code goes to FASTACT_CACHE_DIR, or to the user's cache folder; it fits this version and this CPU.
    """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from fastact.arithmetic.element_types import ELEMENT_TYPES
    from fastact.cpu.cache import cache
    from fastact.cpu.jit import COMPILED
    from fastact.cpu.threads import get_num_threads
    from fastact.cpu.warmup import warmup

    names = list(dict.fromkeys(dtypes or ELEMENT_TYPES))
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
    done = MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}")
    columns = TextColumn("compiling"), BarColumn(), *done
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
    print(f"{', '.join(names)}: {len(new)} entry points compiled; {cache_line(folder)}")
