"""A comparison as a value: where two runs part, and what only one of them has."""

import json
from dataclasses import dataclass
from typing import Any, Literal

from fastact.diagnosis.finding import Finding


@dataclass(frozen=True, slots=True)
class Parting:
    """Where one statistic of one layer begins to differ by more than noise explains.

    Attributes:
        layer: the layer's name.
        statistic: what differs, such as "std"; a name that heat maps take too.
        step: the first step of those in a row that differ so.
        a: its value in the first run at that step; None where it has none.
        b: its value in the second run at that step; None where it has none.
        excess: how many times as large as noise explains the difference is at least, over the rows that it takes to be
            sure; None where there is no noise: numbers that are not finite in one run alone, and
            learning rates.
        from_start: whether it is so from the first step on that both runs have of the layer.
    """

    layer: str
    statistic: str
    step: int
    a: float | None
    b: float | None
    excess: float | None
    from_start: bool

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain strings, finite numbers and None."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class LayerComparison:
    """One layer that both runs have.

    Attributes:
        name: the layer's name.
        kind: its type in the first run; "" when unknown.
        kind_b: its type in the second run.
        dtype: the dtype of its activations in the first run; "" when unknown.
        dtype_b: that in the second run.
        rows: pairs of rows of the same step.
        first_step: the first step of these; None without pairs.
        last_step: the last step of these; None without pairs.
        first_unequal: the first step whose rows are not the same bit for bit; None where all are.
        parts_at: the first step at which a statistic parts; None where none does.
        statistic: the statistic that differs most from then on, in units of noise; "" where none parts.
        excess: the largest difference that lasted, in units of what noise explains: above 1 where the layer parts.
    """

    name: str
    kind: str
    kind_b: str
    dtype: str
    dtype_b: str
    rows: int
    first_step: int | None
    last_step: int | None
    first_unequal: int | None
    parts_at: int | None
    statistic: str
    excess: float

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain strings, finite numbers and None."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Where two runs part, beyond what noise explains, and what only one of them has.

    Attributes:
        a: the first run, as it was named.
        b: the second run, as it was named.
        partings: for each layer and statistic that parts, where it begins: the earliest step first; within a step in
            forward order, and within a layer the largest excess first.
        layers: the layers that both runs have, in forward order.
        only_in_a: names of layers that the first run alone has, in forward order.
        only_in_b: names of layers that the second run alone has.
        findings_only_in_a: what is wrong in the first run alone: of a layer, a condition that the second has not.
        findings_only_in_b: what is wrong in the second run alone.
        steps: how many steps both runs have rows of; those are compared.
        first_step: the first of these steps; None without any.
        last_step: the last of these steps; None without any.
        first_unequal: the first step in which a row is not the same bit for bit; None where none is.
        noise: where the noise comes from: "own", the two runs alone, or "seeds", other runs of the same training.
        seeds: how many runs of the same training the noise comes from; 0 for "own".
        notes: what limits the comparison, a sentence each.
    """

    a: str
    b: str
    partings: tuple[Parting, ...]
    layers: tuple[LayerComparison, ...]
    only_in_a: tuple[str, ...]
    only_in_b: tuple[str, ...]
    findings_only_in_a: tuple[Finding, ...]
    findings_only_in_b: tuple[Finding, ...]
    steps: int
    first_step: int | None
    last_step: int | None
    first_unequal: int | None
    noise: Literal["own", "seeds"]
    seeds: int
    notes: tuple[str, ...]

    @property
    def first(self) -> Parting | None:
        """Where the runs part first: the earliest step, then the first layer; None where they do not."""
        return self.partings[0] if self.partings else None

    @property
    def identical(self) -> bool:
        """Whether all rows are the same bit for bit, and neither run has layers or steps that the other has not."""
        return bool(self.steps) and self.first_unequal is None and not (self.only_in_a or self.only_in_b)

    @property
    def summary(self) -> str:
        """The answer in one sentence."""
        from fastact.comparison.render import summary  # shows what is defined here

        return summary(self)

    def to_dict(self) -> dict[str, Any]:
        """The comparison as plain dicts, lists, strings, finite numbers and None."""
        result: dict[str, Any] = {"summary": self.summary, "identical": self.identical}
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, tuple):
                value = [item if isinstance(item, str) else item.to_dict() for item in value]
            result[name] = value
        return result | {"first": None if self.first is None else self.first.to_dict()}

    def to_json(self, indent: int | None = None) -> str:
        """The comparison as strict JSON (ASCII, no NaN, no Infinity)."""
        return json.dumps(self.to_dict(), indent=indent, allow_nan=False)

    def __str__(self) -> str:
        from fastact.comparison.render import render_text

        return render_text(self)
