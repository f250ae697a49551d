"""The columns of the sweep's table, the same on the terminal and in the README."""

from typing import Any

HEADER = ("elements", "dtype", "fastact", "numpy", "torch", "x numpy", "x torch", "GB/s", "of read")


def cells(row: dict[str, Any]) -> list[str]:
    """One row of the table as text; "-" where a library has no such dtype."""
    seconds, ratios = row["seconds"], row["ratios"]
    return [
        f"{row['elements']:.0e}".replace("e+0", "e"),
        row["dtype"],
        *(duration(seconds[name]) if name in seconds else "-" for name in ("fastact", "numpy", "torch")),
        *(f"{ratios[name]:.1f}" if name in ratios else "-" for name in ("numpy", "torch")),
        f"{row['bytes'] / seconds['fastact'] / 1e9:.1f}",
        f"{ratios['read']:.2f}",
    ]


def duration(seconds: float) -> str:
    """Three digits and a unit."""
    unit, scale = next((u for u in (("s", 1.0), ("ms", 1e-3)) if seconds >= u[1]), ("µs", 1e-6))
    return f"{seconds / scale:#.3g}".rstrip(".") + f" {unit}"
