"""How the networks of the zoo are trained: a class each, by name."""

from typing import Final

from bench.zoo.programs import (
    alone,
    coders,
    fifth,
    fifth_games,
    fourth,
    games,
    pairs,
    seventh_held_out,
    seventh_held_out_alone,
    seventh_held_out_games,
    seventh_held_out_loops,
    sixth,
    third_alone,
    third_pairs,
)
from bench.zoo.programs.program import Program, Routed, Supervised

__all__ = ["PROGRAMS", "Program"]

_FAMILIES: Final = (
    alone, coders, games, pairs, third_alone, third_pairs, fourth, fifth, fifth_games, sixth, seventh_held_out,
    seventh_held_out_alone, seventh_held_out_games, seventh_held_out_loops,
)  # fmt: skip

#: By name.
PROGRAMS: Final[dict[str, type[Program]]] = {
    "supervised": Supervised,
    "routed": Routed,
    **{name: getattr(family, kind) for family in _FAMILIES for name, kind in family.KINDS.items()},
}
