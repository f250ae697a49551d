"""How the networks of the zoo are trained: a class each, by name."""

from typing import Final

from bench.zoo.programs import alone, coders, games, pairs
from bench.zoo.programs.program import Program, Routed, Supervised

__all__ = ["PROGRAMS", "Program"]

#: By name.
PROGRAMS: Final[dict[str, type[Program]]] = {
    "supervised": Supervised,
    "routed": Routed,
    **{name: getattr(family, kind) for family in (alone, coders, games, pairs) for name, kind in family.KINDS.items()},
}
