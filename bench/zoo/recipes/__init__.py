"""The table of the zoo: networks that train well, and what is done to them.

The parts were fixed before anything was tuned: no rule and no threshold was ever chosen by what a part says while it is
held out. Each has other networks, other data and other seeds than those for tuning. The parts "opened",
"opened-3" and "opened-4" were held out until 2026-11-30, "opened-5" and "opened-6" until 2026-12-01; since then rules
may be written after them, and their figures count as those of a part for tuning.
"""

from collections.abc import Iterator
from typing import Final

from bench.zoo.recipes import (
    fifth_opened,
    first_held_out,
    first_tuning,
    fourth_opened,
    opened,
    second_tuning,
    seventh_held_out,
    sixth_opened,
    third_opened,
)
from bench.zoo.recipes.table import Network, Part, Recipe, Sick

__all__ = ["NETWORKS", "SICK", "Network", "Part", "Recipe", "Sick", "recipes"]

_TABLES: Final = (
    first_tuning, first_held_out, second_tuning, opened, third_opened, fourth_opened, fifth_opened, sixth_opened,
    seventh_held_out,
)  # fmt: skip

NETWORKS: Final[tuple[Network, ...]] = tuple(network for table in _TABLES for network in table.NETWORKS)
SICK: Final[tuple[Sick, ...]] = tuple(fault for table in _TABLES for fault in table.SICK)


def recipes(part: Part | None = None) -> Iterator[Recipe]:
    """All runs, or those of a part: each network healthy with all its seeds, then with its faults."""
    known = {network.name: network for network in NETWORKS}
    for network in NETWORKS:
        if part in (None, network.part):
            yield from (Recipe(network, seed) for seed in network.seeds)
    for sick in SICK:
        if part in (None, known[sick.network].part):
            yield from (Recipe(known[sick.network], seed, sick) for seed in sick.seeds or known[sick.network].seeds[:2])
