"""The figures of mistakes in drawn trainings, and as the README tells them."""

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bench import RESULTS
from bench.tables import Lines, markdown
from bench.zoo.report import with_interval

if TYPE_CHECKING:  # a README needs no framework
    from bench.faults.mutants.trial import Mutant

__all__ = ["HELD_OUT", "SOURCE", "figures", "mutants_part"]

SOURCE: Final = RESULTS / "mutants.json"
#: The seed whose mutants nobody looks at one by one.
HELD_OUT: Final = 29
#: What is told of each mutant that does harm, and how.
_TOLD: Final[dict[str, Callable[["Mutant"], bool]]] = {
    "found": lambda it: it.said is not None and it.said.found is not None,
    "right": lambda it: it.said is not None and it.said.right,
    "first": lambda it: it.said is not None and it.said.first,
    "soon": lambda it: it.soon,
}
_HEADER: Final = (
    "drawn", "mistakes", "mutants that harm", "found", "right kind", "first sentence", "within 20 steps", "harmless",
    "misled there",
)  # fmt: skip
#: Draws of a bootstrap.
_DRAWS: Final = 4000


def figures(mutants: "Sequence[Mutant]") -> dict[str, Any]:
    """Shares of the mutants that harm, with 95% intervals, and how many of the others misled."""
    fit = [it for it in mutants if it.said is not None]
    harmful = [it for it in fit if it.harmful]
    bases = [it.base for it in harmful]
    shares = {name: _share(bases, [told(it) for it in harmful]) for name, told in _TOLD.items()}
    return {
        "mistakes": len({it.operator for it in harmful}),
        "bases": len(set(bases)),
        "mutants": len(harmful),
        **{name: share for name, (share, _) in shares.items()},
        "intervals": {name: interval for name, (_, interval) in shares.items()},
        "harmless": len(fit) - len(harmful),
        "misled": sum(it.misleads for it in fit if not it.harmful),
        "unfit": len(mutants) - len(fit),
    }


def _share(bases: Sequence[str], told: Sequence[bool]) -> tuple[float | None, tuple[float, float] | None]:
    """A share, and its 95% interval when whole trainings are drawn anew: mutants of one are no independent cases."""
    if not told:
        return None, None
    places = {base: at for at, base in enumerate(sorted(set(bases)))}
    sums = np.zeros((len(places), 2))
    for base, one in zip(bases, told, strict=True):
        sums[places[base]] += one, 1
    drawn = sums[np.random.default_rng(0).integers(len(sums), size=(_DRAWS, len(sums)))].sum(axis=1)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], (0.025, 0.975))
    return round(float(np.mean(told)), 4), (round(float(low), 4), round(float(high), 4))


def mutants_part() -> str:
    """The table of all seeds, and what stands behind it."""
    results = json.loads(SOURCE.read_text(encoding="utf-8"))
    rows = [
        [
            f"seed {seed}, {'held out' if int(seed) == HELD_OUT else 'looked at'}",
            f"{it['mistakes']}",
            f"{it['mutants']} of {it['bases']} trainings",
            *(with_interval(it[name], it["intervals"][name]) for name in _TOLD),
            f"{it['harmless']}",
            f"{it['misled']}",
        ]
        for seed, it in sorted(results["seeds"].items())
    ]
    machine = results["machine"]
    note = (
        "Each mistake of a list (rates, optimisers, loops, outputs, losses, initialisation, inputs, targets) is put "
        "from outside into trainings that were drawn at random and learn without it; it harms when that costs 0.2 of "
        "skill, or is one by itself. All that can be watched is. In brackets: 95% intervals, whole trainings drawn "
        f"anew. Python {machine['python']}, torch {machine['versions'].get('torch', '?')}; {results['date']}. "
        "`python -m bench.faults.mutants --drawn SEED --logs FOLDER` draws, trains and judges them."
    )
    lines = Lines(list(_HEADER), [name == "drawn" for name in _HEADER], rows)
    return f"{markdown(lines)}\n\n{note}"
