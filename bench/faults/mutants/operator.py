"""What a mistake is: where it fits, what is true of it, and how it is made."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bench.faults.mutants.injection import Injection
from bench.faults.mutants.profile import Profile

__all__ = ["OPERATORS", "Operator", "operator"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """A general mistake.

    Attributes:
        name: unique among all.
        says: what is wrong.
        causes: the accepted causes in a program, the truest first; none where it cannot be made there.
        make: the mistake for one run.
        since: the step from which on it can be known.
        plain: whether it is a fault by itself, though the network may learn around it.
        conditions: accepted ones, beside those of the causes.
    """

    name: str
    says: str
    causes: Callable[[Profile], str]
    make: Callable[[Profile], Injection]
    since: int = 0
    plain: bool = False
    conditions: str = ""


OPERATORS: Final[dict[str, Operator]] = {}


def operator(
    causes: str | Callable[[Profile], str],
    fits: Callable[[Profile], object] = lambda _: True,
    *,
    since: int = 0,
    plain: bool = False,
    conditions: str = "",
) -> Callable[[type[Injection]], type[Injection]]:
    """Puts a mistake on the list, under the name of its class.

    Args:
        causes: the accepted causes, separated by spaces, the truest first; or how a program decides them.
        fits: whether it can be made in a program.
        since: the step from which on it can be known.
        plain: whether it is a fault by itself.
        conditions: accepted ones, beside those of the causes.
    """

    def told(it: Profile) -> str:
        if it.amiss or not fits(it):
            return ""
        return causes if isinstance(causes, str) else causes(it)

    def add(injection: type[Injection]) -> type[Injection]:
        name = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in injection.__name__).strip("_")
        says = " ".join((injection.__doc__ or "").split())

        def make(it: Profile) -> Injection:
            made = injection()
            made.profile = it
            return made

        OPERATORS[name] = Operator(
            name=name, says=says, causes=told, make=make, since=since, plain=plain, conditions=conditions
        )
        return injection

    return add
