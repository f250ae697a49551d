"""`fastact info`: versions, threads, the cache of machine code, GPU."""

import json
import os
from pathlib import Path
from typing import Annotated, Final

import typer

from fastact.cli.options import AsJson
from fastact.cli.output import show, table

_CHECK: Final = ("device", "kernel", "element type", "result", "ms")


def info(
    as_json: AsJson = False,
    gpu: Annotated[
        bool, typer.Option("--gpu", help="Run each kernel on the GPU and compare it with the host.")
    ] = False,
) -> None:
    """Show the versions and the machine that fastact sees, and whether there is a GPU.

    With --gpu each kernel for float32, bfloat16, float16 and float64 is run there on difficult data and compared with
    the host, which takes a minute where they have to be compiled. The exit code is 1 where one fails.
    """
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from fastact import __version__
    from fastact.cpu.cache import cache
    from fastact.cpu.jit import COMPILED
    from fastact.cpu.prebuilt import prebuilt_folder
    from fastact.cpu.threads import get_num_threads
    from fastact.cuda.info import gpu_check, gpu_line

    rows = [("fastact", __version__), ("python", f"{platform.python_version()} on {platform.platform()}")]
    for name in ("numpy", "numba", "pyarrow", "torch", "scikit-learn", "ml_dtypes", "numba-cuda"):
        try:
            rows.append((name, version(name)))
        except PackageNotFoundError:
            rows.append((name, "not installed"))
    rows.append(("machine", f"{platform.machine()}, {os.cpu_count()} CPUs"))
    rows.append(("threads", f"{get_num_threads()} (fastact's own; Numba's threading layers are not used)"))
    code = "none: NUMBA_DISABLE_JIT is set, and sweeps run as plain Python"
    if COMPILED:
        folder, problem, _ = cache()
        code = cache_line(folder) if folder is not None else f"not kept: {problem}"
        shipped, why = prebuilt_folder()
        came = f"{shipped.name}, {len(list(shipped.glob('*.bin')))} entry points" if shipped else f"none: {why}"
        rows.append(("prebuilt code", came))
    rows += [("machine code", code), ("gpu", gpu_line())]
    checks = gpu_check() if gpu else []
    if as_json:
        check = {"gpu check": [dict(zip(_CHECK, line, strict=True)) for line in checks]} if gpu else {}
        print(json.dumps({**dict(rows), **check}, indent=2))
    else:
        show(table(("what", "value"), rows, left=2))
        if gpu:
            show(table(_CHECK, checks, left=4) if checks else "no kernel can run here: nothing was checked")
    if any(line[3] != "as the host" for line in checks):
        raise typer.Exit(1)


def cache_line(folder: Path) -> str:
    """How much machine code the folder of the cache holds."""
    sizes = [path.stat().st_size for path in folder.glob("*.bin")]
    access = "" if os.access(folder, os.W_OK) else ", read-only"
    return f"{len(sizes)} entry points, {sum(sizes) / 1e6:.1f} MB{access}, in {folder}"
