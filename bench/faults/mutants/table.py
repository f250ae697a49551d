"""Figures of mutants: by mistake, by architecture, and in all."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from bench.faults.mutants.operator import OPERATORS
from bench.faults.mutants.trial import Mutant
from bench.zoo.figures import wilson

__all__ = ["HEADER", "by_family", "by_operator", "lines", "total"]

HEADER: Final = (
    "mistake", "mutants", "found", "right kind", "first", "95%", "soon", "harmless", "misled there", "unfit",
)  # fmt: skip


def by_operator(mutants: Sequence[Mutant]) -> list[tuple[str, ...]]:
    """A row for each mistake, and one for all."""
    return [*_rows(mutants, lambda it: it.operator, OPERATORS), total(mutants)]


def by_family(mutants: Sequence[Mutant]) -> list[tuple[str, ...]]:
    """A row for each family of architectures."""
    return _rows(mutants, lambda it: it.family, sorted({it.family for it in mutants}))


def total(mutants: Iterable[Mutant]) -> tuple[str, ...]:
    """The row of all."""
    return _row("all", list(mutants))


def _rows(mutants: Sequence[Mutant], key: Callable[[Mutant], str], names: Iterable[str]) -> list[tuple[str, ...]]:
    return [_row(name, chosen) for name in names if (chosen := [it for it in mutants if key(it) == name])]


def _row(name: str, mutants: Sequence[Mutant]) -> tuple[str, ...]:
    fit = [it for it in mutants if it.said is not None]
    counted = [it for it in fit if it.harmful]
    harmless = [it for it in fit if not it.harmful]
    told = [it.said for it in counted if it.said is not None]
    first = sum(said.first for said in told)
    interval = wilson(first, len(told))
    return (
        name,
        str(len(told)),
        _share(sum(said.found is not None for said in told), len(told)),
        _share(sum(said.right for said in told), len(told)),
        _share(first, len(told)),
        "-" if interval is None else f"{interval[0]:.2f} to {interval[1]:.2f}",
        _share(sum(it.soon for it in counted), len(told)),
        str(len(harmless)),
        str(sum(it.misleads for it in harmless)),
        str(len(mutants) - len(fit)),
    )


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.2f}" if whole else "-"


def lines(mutants: Iterable[Mutant]) -> list[str]:
    """A line for each mutant of which the first sentence is wrong, or that misleads."""
    told = []
    for it in mutants:
        if it.said is None or (it.said.first if it.harmful else not it.misleads):
            continue
        words = "; ".join(it.said.words) or "nothing"
        found = "not found" if it.said.found is None else "not first" if it.said.right else "wrong kind"
        verdict = found if it.harmful else "harmless, misled"
        skills = f"{it.skill:.2f} of {it.twin:.2f}"
        told.append(f"{verdict}: {it.operator}@{it.base} ({it.causes[0]}; {it.family}; {skills}): {words}")
    return told
