"""What a rule is: one class that carries everything that fastact knows of a condition.

README.md says step by step how to add one. `rules.RULES` lists those that run.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from enum import Enum
from typing import ClassVar, Generic, TypeVar

from fastact.diagnosis.causality import Explains
from fastact.diagnosis.finding import Finding
from fastact.diagnosis.network import LayerView, Network
from fastact.diagnosis.row_conditions import Cascade, Row
from fastact.diagnosis.thresholds import CommonThresholds
from fastact.history import LayerInfo

__all__ = ["Outcome", "Rule"]

#: The thresholds that a rule compares with: `CommonThresholds`, or a class of its own that adds to them.
_T_contra = TypeVar("_T_contra", bound=CommonThresholds, contravariant=True)


class Outcome(Enum):
    """Why a rule made no finding. Unknown is not healthy, so the two are apart."""

    NOT_FOUND = "not found"
    NOT_ENOUGH_DATA = "not enough data"
    NOT_APPLICABLE = "not applicable"


class Rule(ABC, Generic[_T_contra]):
    """A condition that a layer can have, and how it is found. Rules are stateless.

    Attributes:
        condition: its name in findings, in the JSON and of its page: ``"dead"``.
        adjective: how the report says it of a layer: ``"close to overflow"``.
        judges_gradients: whether gradients are judged too. They are small by design, zero where a neuron is off, and
            of any shape, so most rules do not apply to them.
        only_alone: whether it is told only of layers in which no rule before it found anything, since it would be
            another word for the same thing, or the mark that it left.
        symptom: whether it counts as a consequence of any finding of a rule before it that is no later, or in no later
            layer: it stands for itself only where nothing else is wrong that it could come from.
        first_explains_all: whether only its first finding is a cause: it explains all that any later one would.
        handed_on: whether a layer that only hands its input on (dropout, pooling) cannot have caused it.
        explains: the conditions that a finding of this rule can explain, each with the pairs of findings for which
            it does (`causality` has the usual ones). The rule of an effect comes later in `RULES`, or the effect comes
            later in time or down the network, so that there are no circles.
        explained_by: the conditions of other rules that can explain this one, likewise. For a new rule, so that those
            rules' files stay as they are; `explains` of the other rule counts first.
    """

    condition: ClassVar[str]
    adjective: ClassVar[str]
    judges_gradients: ClassVar[bool] = False
    only_alone: ClassVar[bool] = False
    symptom: ClassVar[bool] = False
    first_explains_all: ClassVar[bool] = False
    handed_on: ClassVar[bool] = False
    explains: ClassVar[Mapping[str, Explains]] = {}
    explained_by: ClassVar[Mapping[str, Explains]] = {}

    def applies(self, info: LayerInfo) -> bool:
        """Whether a layer of this type and dtype can have the condition; by default every layer."""
        del info
        return True

    def needs(self, thresholds: _T_contra) -> int:
        """How many rows of a layer are needed; by default `min_rows`."""
        return thresholds.min_rows

    def row_conditions(self, info: LayerInfo, first: Row, thresholds: _T_contra) -> tuple[Cascade, ...]:
        """What to track while rows arrive, so that an onset is known long after it left the window; by default nothing.

        Args:
            info: the layer's name, type and dtype.
            first: its first row that has finite elements, or its first row.
            thresholds: what is compared with.
        """
        del info, first, thresholds
        return ()

    @abstractmethod
    def check(self, layer: LayerView, network: Network, thresholds: _T_contra) -> Finding | Outcome:
        """The finding for one layer, or why there is none. Called with at least `needs` rows."""

    def stands_alone(self, finding: Finding, layer_type: str) -> bool:
        """Whether a finding that explains nothing and that nothing explains is worth telling; by default it is."""
        del finding, layer_type
        return True
