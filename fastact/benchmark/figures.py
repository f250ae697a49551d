"""Measures as people read them: few digits, with a unit."""

__all__ = ["duration", "multiple", "size"]


def size(elements: int) -> str:
    """Such as 1e3."""
    return f"{elements:.0e}".replace("e+0", "e")


def multiple(ratio: float) -> str:
    """Two digits, or as many as a whole number has."""
    return f"{ratio:.0f}" if ratio >= 9.95 else f"{ratio:.1f}" if ratio >= 0.995 else f"{ratio:.2f}"


def duration(seconds: float) -> str:
    """Three digits and a unit."""
    units = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6))
    unit, scale = next((u for u in units if seconds >= u[1]), ("ns", 1e-9))
    return f"{seconds / scale:#.3g}".rstrip(".") + f" {unit}"
