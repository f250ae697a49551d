"""`fastact bench`: times a sweep beside its peers and beside a bare read of memory."""

import dataclasses
import json
from typing import Annotated, Final

import typer

from fastact.cli.options import AsJson
from fastact.cli.output import complain, show, table

_ABOUT_ELEMENTS: Final = "Size of a buffer; may be repeated. By default 1e3 to 1e7."


def bench(
    elements: Annotated[list[int] | None, typer.Option("--elements", "-n", min=1, help=_ABOUT_ELEMENTS)] = None,
    dtype: Annotated[str, typer.Option(metavar="NAME", help="float32, float64 or float16.")] = "float32",
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each contestant, whose median is shown.")] = 7,
    as_json: AsJson = False,
) -> None:
    """Time a sweep on this machine beside NumPy and PyTorch doing the same, and beside a bare read of memory."""
    from rich.console import Console
    from rich.status import Status

    from fastact.benchmark.figures import duration, multiple, size
    from fastact.benchmark.sweeps import DEFAULT_SIZES, measure
    from fastact.benchmark.turns import load_warning

    measured = measure(elements or DEFAULT_SIZES, dtype, rounds=rounds)
    if (warning := load_warning()[1]) is not None:
        complain(warning)
    with Status("measuring", console=Console(stderr=True)):
        rows = list(measured)
    if as_json:
        print(json.dumps([dataclasses.asdict(row) for row in rows], indent=2))
        return
    peers = [name for name in rows[0].seconds if name not in ("fastact", "read")]
    head = ("elements", "dtype", "fastact", "GB/s", "of read", *(f"x {name}" for name in peers))
    cells = (
        (
            *(size(row.elements), row.dtype, duration(row.seconds["fastact"]), f"{row.bandwidth / 1e9:.1f}"),
            multiple(row.ratios["read"]),
            *(multiple(row.ratios[name]) + "†" * (name in row.wrong) for name in peers),
        )
        for row in rows
    )
    show(table(head, cells, left=0))
    print(
        "Medians of calls by turns, warm, answers compared first. x: how many times longer others take for the same"
        " numbers.\nof read: the time of reading the bytes and doing nothing else over that of summarize."
    )
    if any(row.wrong for row in rows):
        print("† its mean or std is off by more than rounding explains.")
