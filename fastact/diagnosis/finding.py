"""A finding as a value: what is wrong with one layer, how bad it is, since when, and the numbers behind it."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, Final, Literal, TypeVar, overload

import numpy as np

from fastact.diagnosis.frozen import made_quickly
from fastact.errors import FastactError
from fastact.pages import where

#: What a rule may grade. A "note" is true and does no harm: it is told apart from the findings, in `Diagnosis.notes`.
Severity = Literal["note", "warning", "serious", "critical"]
#: The severities of findings, the least first.
SEVERITIES: Final[tuple[Severity, ...]] = ("warning", "serious", "critical")
NOTE: Final[Severity] = "note"

#: How sure a cause is: the rows leave no other; they speak for it more than for any other; nothing speaks against it
#: and nothing for it; or all that are known were refuted.
Confidence = Literal["certain", "likely", "possible", "unknown"]

_T = TypeVar("_T")


def gravity(severity: Severity) -> int:
    """The place of a severity in their order: 0 for a note."""
    return 0 if severity == NOTE else 1 + SEVERITIES.index(severity)


def graded(*, serious: bool, critical: bool) -> Severity:
    """The severity of what is at least a warning, serious or even critical."""
    return "critical" if critical else "serious" if serious else "warning"


class Evidence(Mapping[str, float | int | str]):
    """The numbers behind a finding: immutable, hashable, and always strict JSON.

    Values that are None, NaN or infinite are left out; numpy scalars become Python's.

    Example:
        >>> Evidence(ratio=0.25, growth=float("inf"), neurons=64)
        Evidence(ratio=0.25, neurons=64)
    """

    __slots__ = ("_items",)

    def __init__(self, **items: float | str | None) -> None:
        kept: dict[str, float | int | str] = {}
        for name, value in items.items():
            kind = type(value)
            if kind is float:  # as a rule, as the next ones, and in a third of the time
                if isfinite(value):  # type: ignore[arg-type]
                    kept[name] = value  # type: ignore[assignment]
                continue
            if kind is int or kind is str:
                kept[name] = value  # type: ignore[assignment]
                continue
            plain = value.item() if isinstance(value, np.generic) else value
            if plain is not None and not (isinstance(plain, float) and not isfinite(plain)):
                kept[name] = plain
        self._items = kept

    def __getitem__(self, name: str) -> float | int | str:
        return self._items[name]

    @overload
    def get(self, name: str, default: None = None, /) -> float | int | str | None: ...
    @overload
    def get(self, name: str, default: float | str, /) -> float | int | str: ...
    @overload
    def get(self, name: str, default: _T, /) -> float | int | str | _T: ...
    def get(self, name: str, default: object = None, /) -> object:
        """The number of this name; `default` where there is none."""
        return self._items.get(name, default)  # that of a Mapping raises and catches an error

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(tuple(sorted(self._items)))

    def __repr__(self) -> str:
        return f"Evidence({', '.join(f'{name}={value!r}' for name, value in self._items.items())})"


@made_quickly
@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with one layer: one condition.

    Attributes:
        layer: the layer's name, as recorded.
        condition: that of the rule that found it, such as "dead"; the conditions are those of `rules.RULES`.
        severity: "warning", "serious" or "critical".
        first_step: the step since which it has held without a break, even if that step has left the window.
        evidence: the numbers behind it.
        message: what was seen, as one sentence.
        cause: the likely cause, as one sentence.
        remedies: what to try, in words, the likeliest first; nothing that the network is known to have.
        consequence_of: the name of the layer whose finding explains this one; None for a culprit.
        cause_name: the cause in a word, such as "learning_rate"; "" where it is unknown.
        because: what in the rows speaks for the cause, each a clause such as "its input reaches 255".
        confidence: how sure the cause is: "certain", "likely", "possible" or "unknown".
        ranks: the ranks that have it, ascending, where not all do; empty where all do, or nobody can tell.
        of_ranks: of how many ranks; 0 where there is one, or where nobody can tell.
    """

    layer: str
    condition: str
    severity: Severity
    first_step: int
    evidence: Evidence
    message: str
    cause: str
    remedies: tuple[str, ...]
    consequence_of: str | None = None
    cause_name: str = ""
    because: tuple[str, ...] = ()
    confidence: Confidence = "possible"
    ranks: tuple[int, ...] = ()
    of_ranks: int = 0

    @property
    def id(self) -> str:
        """A short name by its layer and condition: the same live and replayed, on every rank, and later in the run."""
        text = f"{self.layer}\0{self.condition}".encode(errors="backslashreplace")
        return hashlib.blake2s(text, digest_size=6).hexdigest()

    @property
    def page(self) -> str:
        """The page on the condition, as a path in the repository; ``fastact explain`` shows it."""
        return where("conditions", self.condition)

    def following(self, culprit: str) -> "Finding":
        """This finding, as a consequence of the one of layer `culprit`."""
        # dataclasses.replace takes three times as long, which shows where hundreds follow.
        seen = self.layer, self.condition, self.severity, self.first_step, self.evidence
        why = self.cause_name, self.because, self.confidence
        return Finding(*seen, self.message, self.cause, self.remedies, culprit, *why, self.ranks, self.of_ranks)

    def on_ranks(self, ranks: tuple[int, ...], of: int, says: str = "") -> "Finding":
        """This finding, of some of `of` ranks; `says` goes on after the message."""
        return replace(self, ranks=ranks if len(ranks) < of else (), of_ranks=of, message=self.message + says)

    def to_dict(self) -> dict[str, Any]:
        """The fields, `id` and `page` as plain dicts, lists, strings and finite numbers."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        lists = {"remedies": list(self.remedies), "because": list(self.because), "ranks": list(self.ranks)}
        return {"id": self.id} | fields | lists | {"evidence": dict(self.evidence), "page": self.page}


class FindingError(FastactError):
    """A layer has a new finding, and the monitor was asked to raise (``on_finding="raise"``).

    Attributes:
        finding: what is wrong.
    """

    def __init__(self, message: str, finding: Finding) -> None:
        super().__init__(message)
        self.finding = finding

    def __reduce__(self) -> tuple[type["FindingError"], tuple[str, Finding]]:
        return FindingError, (str(self), self.finding)
