"""`fastact stats`: the statistics of arrays in files."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fastact.cli.options import AsJson
from fastact.cli.output import complain, show, table
from fastact.errors import FastactError
from fastact.text import percent, shown

if TYPE_CHECKING:
    from fastact.files import ArrayStats


_Interval = Annotated[tuple[float, float], typer.Option(metavar="LO HI", help="What is outside is saturated.")]


def stats(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help=".npy, .safetensors, .arrow or .parquet.")],
    axis: Annotated[int | None, typer.Option(help="Also sweep per neuron along it (.npy, .safetensors).")] = None,
    saturation: _Interval = (-0.99, 0.99),
    as_json: AsJson = False,
) -> int:
    """Sweep the arrays of files: .npy and .safetensors are mapped, .arrow and .parquet are read batch by batch."""
    from fastact.files import sweep_file

    found: list[tuple[Path, ArrayStats]] = []
    failed = False
    for path in files:
        try:
            found.extend((path, array) for array in sweep_file(path, axis=axis, saturation=saturation))
        except (FastactError, OSError) as error:
            complain(f"error: {error}")
            failed = True
    if as_json:
        print(json.dumps([_array_dict(path, array) for path, array in found], indent=2, allow_nan=False))
    elif found:
        first = 0 if len(files) > 1 else 1  # one file needs no name
        head = ("file", "array", "dtype", *_STATS, *(_NEURONS if axis is not None else ()))[first:]
        rows = ([shown(cell) for cell in (path.name, *_array_cells(array, axis))[first:]] for path, array in found)
        show(table(head, rows, left=3 - first))
    return 2 if failed else 0


_STATS: Final = ("shape", "mean", "std", "min", "max", "zero", "saturated", "nan", "inf", "null")
_NEURONS: Final = ("neurons", "dead neurons")


def _array_cells(array: "ArrayStats", axis: int | None) -> list[str]:
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
    about = {"array": array.name, "dtype": array.dtype, "shape": list(array.shape), "nulls": array.nulls}
    result = {"file": str(path), **about, **{name: _plain(getattr(array.stats, name)) for name in _SUMMARY}}
    if (neurons := array.neurons) is not None:
        result["neurons"] = {name: [_plain(x) for x in getattr(neurons, name).tolist()] for name in _SUMMARY}
    return result


def _plain(value: Any) -> Any:
    """A number as strict JSON has it: null where there is none."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
