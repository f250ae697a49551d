"""Measures as people read them: few digits, with a unit."""


def size(elements: int) -> str:
    """A number of elements, such as 1e3."""
    return f"{elements:.0e}".replace("e+0", "e")


def multiple(ratio: float) -> str:
    """A ratio with two digits, or with those of a whole number: 0.95, 2.3, 74."""
    return f"{ratio:.0f}" if ratio >= 9.95 else f"{ratio:.1f}" if ratio >= 0.995 else f"{ratio:.2f}"


def duration(seconds: float) -> str:
    """A time with three digits and a unit, such as 11.1 ms."""
    units = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6))
    unit, scale = next((u for u in units if seconds >= u[1]), ("ns", 1e-9))
    return f"{seconds / scale:#.3g}".rstrip(".") + f" {unit}"
