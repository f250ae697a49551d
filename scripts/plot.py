"""The README's picture: GB/s by size for each contestant, and the machine's read limit. Needs matplotlib.

Made by `python -m scripts.readme` from bench/results/sweep.json, whose digest the file carries, so that a check needs
no matplotlib. Colours lie between light and dark and the background is clear: legible on a white and on a black page.
"""

import hashlib
from pathlib import Path
from typing import Any

from bench import RESULTS
from bench.tables import FEWER

__all__ = ["PLOT", "digest", "draw"]

PLOT = RESULTS / "sweep.svg"
_GREY = "#808890"
#: One colour for each line, of middling lightness.
_COLOURS = {
    "fastact": "#e8590c",
    "NumKong": "#2f9e44",
    "compile": "#ae3ec9",
    "bottleneck": "#a08000",
    "numpy": "#1c7ed6",
    "torch": "#e64980",
    "numbagg": "#0c8599",
}
_LABELS = {"compile": "torch.compile", **{name: name + "*" for name in FEWER}}
#: Labels stand at least this far apart: a factor on the logarithmic axis.
_APART = 1.45


def digest(source: Path) -> str:
    """What the picture carries to show which results it was drawn from."""
    return "results sha256 " + hashlib.sha256(source.read_bytes()).hexdigest()[:16]


def draw(results: dict[str, Any], note: str, path: Path) -> None:
    """Draws the float32 rows of the sweep.

    Args:
        results: what bench.sweep wrote.
        note: kept in the file's description.
        path: the file, .svg or .png.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        raise SystemExit("the picture needs matplotlib: pip install -e '.[bench]'") from None

    mpl.use("svg" if path.suffix == ".svg" else "agg")
    from matplotlib import pyplot as plt

    rows = [row for row in results["rows"] if row["dtype"] == "float32"]
    speeds = {
        name: [(row["elements"], row["bytes"] / row["seconds"][name] / 1e9) for row in rows if name in row["seconds"]]
        for name in ("read", *_COLOURS)
    }
    style: dict[Any, Any] = {
        "svg.fonttype": "none",  # text stays text: small, and in the reader's font
        "svg.hashsalt": "fastact",
        "font.family": "sans-serif",
        "text.color": _GREY,
        "axes.labelcolor": _GREY,
        "axes.edgecolor": _GREY,
        "xtick.color": _GREY,
        "ytick.color": _GREY,
    }
    with mpl.rc_context(style):
        figure, axes = plt.subplots(figsize=(8, 4.2), layout="constrained")
        ends = {}
        for name, points in speeds.items():
            if not points:
                continue
            colour = _COLOURS.get(name, _GREY)
            axes.plot(
                *zip(*points, strict=True),
                color=colour,
                linestyle="--" if name == "read" else "-",
                linewidth=2.6 if name == "fastact" else 1.4,
                marker=None if name == "read" else "o",
                markersize=4,
            )
            ends[_LABELS.get(name, "read limit" if name == "read" else name)] = (points[-1], colour)
        _label(axes, ends)
        axes.set(xscale="log", yscale="log", xlabel="float32 elements", ylabel="GB/s")
        axes.set_xlim(right=axes.get_xlim()[1] * 1.1)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.grid(color=_GREY, alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        metadata = {"Date": None, "Description": note, "Creator": None} if path.suffix == ".svg" else {}
        figure.savefig(path, transparent=True, metadata=metadata, dpi=110)
        plt.close(figure)
    if path.suffix == ".svg":
        path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")


def _label(axes: Any, ends: dict[str, tuple[tuple[float, float], str]]) -> None:
    # At the lines' right ends instead of a legend, pushed apart from the lowest upwards where they would overlap.
    lowest = 0.0
    for text, ((x, y), colour) in sorted(ends.items(), key=lambda end: end[1][0][1]):
        lowest = max(y, lowest * _APART)
        axes.annotate(
            text,
            (x, lowest),
            xytext=(10, 0),
            textcoords="offset points",
            color=colour,
            va="center",
            fontweight="bold" if text == "fastact" else "normal",
            annotation_clip=False,
        )
