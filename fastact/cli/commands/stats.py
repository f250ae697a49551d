"""`fastact stats`: the statistics of arrays in files, one or millions, here or on an object store."""

import enum
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fastact.cli.options import AsJson
from fastact.cli.output import complain, show, table
from fastact.text import percent, shown

if TYPE_CHECKING:
    from fastact.files.array import ArrayStats
    from fastact.files.found import FilesStats
    from fastact.stats.activation import ActivationStats

_Files = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE...",
        help="Files, folders, patterns, s3://...: .npy, .npz, .safetensors, .arrow, .parquet, .h5, .zarr, .pt.",
    ),
]
_Interval = Annotated[tuple[float, float], typer.Option(metavar="LO HI", help="What is outside is saturated.")]


class By(enum.StrEnum):
    """What has a line."""

    ARRAY = "array"
    FILE = "file"
    LAYER = "layer"
    TOTAL = "total"


_By = Annotated[
    By | None,
    typer.Option(help="What has a line; by default each array, and where these are many each layer, or the total."),
]
_Workers = Annotated[int | None, typer.Option(min=1, help="Files read at a time; by default one for each CPU.")]
_Resume = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Kept up to date; the next call goes on from there.")
]
_Layer = Annotated[
    str | None, typer.Option(metavar="REGEX", help="Names layers by its group (?P<layer>...) in FILE/ARRAY.")
]
_Extras = Annotated[list[str] | None, typer.Option("--extra", help="shape, exponents, quantiles or outliers too.")]
_Out = Annotated[Path | None, typer.Option(metavar="FILE.parquet", help="Also write the mergeable rows of all arrays.")]

#: Lines from which on another grouping is taken where none was asked for.
_MANY: Final = 60


def stats(
    files: _Files,
    axis: Annotated[int | None, typer.Option(help="Also sweep per neuron along it (not columns).")] = None,
    saturation: _Interval = (-0.99, 0.99),
    by: _By = None,
    layer: _Layer = None,
    extra: _Extras = None,
    workers: _Workers = None,
    resume: _Resume = None,
    out: _Out = None,
    as_json: AsJson = False,
) -> int:
    """Sweep the arrays of files, folders and patterns, and add them up by file and layer; nothing is loaded whole."""
    from fastact.errors import ArgumentValueError
    from fastact.files.sweep import sweep_files

    if out is not None and (out.suffix != ".parquet" or not out.parent.is_dir()):  # before hours of reading
        raise ArgumentValueError(f"out: got {str(out)!r}, want a name that ends in .parquet, in a folder that is there")
    found = sweep_files(
        files,
        axis=axis,
        saturation=saturation,
        extras=extra or (),
        layer=layer,
        workers=workers,
        resume=resume,
        progress=True,
        on_error="skip",
    )
    for reason in found.failed.values():
        complain(f"error: {reason}")
    if out is not None and len(found):
        import pyarrow.parquet as pq

        pq.write_table(found.to_arrow(), out)
    if as_json:
        _print_json(found, by)
    elif len(found):
        _show(found, by, axis)
    return 2 if found.failed else 0


_STATS: Final = ("mean", "std", "min", "max", "zero", "saturated", "nan", "inf")
_NEURONS: Final = ("neurons", "dead neurons")
_QUANTILES: Final = (0.01, 0.5, 0.99)


def _show(found: "FilesStats", by: str | None, axis: int | None) -> None:
    count = len(found.files)
    if by is None:
        by = "array" if len(found) <= _MANY else "layer" if len(found.layers) <= _MANY else "total"
    total = found.total
    quantiles = ("quantiles" in getattr(total, "extras", ())) * tuple(f"p{q * 100:g}" for q in _QUANTILES)
    if by == "array":
        first = 1 if count == 1 and not found.failed else 0  # one file needs no name
        head = ("file", "array", "dtype", "shape", *_STATS, *quantiles, "null", *(_NEURONS if axis is not None else ()))
        rows = [(Path(file).name, *_array_cells(array, axis)) for file, array in found]
        if len(found) > 1:
            rows.append(("all", "", "", f"{total.count:,}", *_cells(total), f"{sum(a.nulls for _, a in found):,}"))
            rows[-1] += ("",) * (len(head) - len(rows[-1]))
        show(table(head[first:], ([shown(cell) for cell in row[first:]] for row in rows), left=3 - first))
        return
    groups = _groups(found, by)
    lines = [(name, f"{s.count:,}", *_cells(s)) for name, s in groups.items()]
    if by != "total":
        lines.append(("all", f"{total.count:,}", *_cells(total)))
    head = ("" if by == "total" else by, "elements", *_STATS, *quantiles)
    show(table(head, ([shown(cell) for cell in line] for line in lines), left=1))
    print(f"{len(found):,} arrays in {count:,} files, {found.size}")


def _groups(found: "FilesStats", by: str) -> Mapping[str, "ActivationStats"]:
    return {"file": lambda: found.files, "layer": lambda: found.layers, "total": lambda: {"all": found.total}}[by]()


def _cells(s: Any) -> Iterable[str]:
    cells = [f"{value:.5g}" for value in (s.mean, s.std, s.min, s.max)]
    cells += [percent(share) if s.count else "-" for share in (s.zero_ratio, s.saturation_ratio)]
    cells += [f"{value:,}" for value in (s.nans, s.infs)]
    if "quantiles" in getattr(s, "extras", ()):
        cells += [f"{value:.5g}" for value in s.quantile(_QUANTILES)]
    return cells


def _array_cells(array: "ArrayStats", axis: int | None) -> list[str]:
    cells = [array.name or "-", array.dtype, "x".join(map(str, array.shape)) or "scalar", *_cells(array.stats)]
    cells.append(f"{array.nulls:,}")
    if axis is not None:
        dead = array.neurons.dead() if array.neurons is not None else None
        cells += ["-", "-"] if dead is None else [f"{dead.size:,}", f"{int(dead.sum()):,}"]
    return cells


_SUMMARY: Final = (
    *("count", "mean", "std", "min", "max", "abs_mean", "rms"),
    *("zeros", "saturated", "nans", "pos_infs", "neg_infs"),
)
_SHAPE: Final = ("skewness", "kurtosis")


def _print_json(found: "FilesStats", by: str | None) -> None:
    if by in (None, "array"):
        entries = [_array_dict(file, array) for file, array in found]
    else:
        assert by is not None
        entries = [{by: name, **_summary(s)} for name, s in _groups(found, by).items()]
    print(json.dumps(entries, indent=2, allow_nan=False))


def _summary(s: Any) -> dict[str, Any]:
    extras = getattr(s, "extras", ())
    result = {name: _plain(getattr(s, name)) for name in (*_SUMMARY, *(_SHAPE if "shape" in extras else ()))}
    if "quantiles" in extras:
        result["quantiles"] = {f"{q:g}": _plain(s.quantile(q)) for q in _QUANTILES}
    return result


def _array_dict(file: str, array: "ArrayStats") -> dict[str, Any]:
    about = {"array": array.name, "dtype": array.dtype, "shape": list(array.shape), "nulls": array.nulls}
    result = {"file": file, **about, **_summary(array.stats)}
    if (neurons := array.neurons) is not None:
        result["neurons"] = {name: [_plain(x) for x in getattr(neurons, name).tolist()] for name in _SUMMARY}
    return result


def _plain(value: Any) -> Any:
    """A number as strict JSON has it: null where there is none."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
