"""What a rule is: one class that carries everything about a condition, and when one finding explains another.

README.md says step by step how to add one. `rules.RULES` lists those that run.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Hashable, Mapping
from enum import Enum
from typing import ClassVar, Generic, NamedTuple, TypeVar

from fastact.diagnosis import layer_types
from fastact.diagnosis.experts import side_by_side
from fastact.diagnosis.finding import Finding
from fastact.diagnosis.network import LayerView, Network
from fastact.diagnosis.row_conditions import Cascade, Row
from fastact.diagnosis.thresholds import CommonThresholds
from fastact.history import LayerInfo


class Circumstances(NamedTuple):
    """What a pair of findings is judged by besides the findings themselves.

    Attributes:
        place: each layer's place in forward order.
        order: each finding's place in the order of time, then of layers, then of `RULES`; by `key`.
        source: for each layer whose neurons are those of its input (`layer_types.follows_input`), the layer before it.
        slack: steps; `min_rows` rows of the layer that is recorded least often. Onsets closer than this have no order.
        near: steps, likewise of `near_rows` rows: what began longer ago brings about no symptom any more.
        expert: for each layer of an expert, its mixture and its number there.
        evaluation: the layers whose rows are those of evaluation.
        given: what the model was given: data, which no layer changes.
    """

    place: Mapping[str, int]
    order: Mapping[tuple[str, str], int]
    source: Mapping[str, str]
    slack: float
    near: float
    expert: Mapping[str, tuple[str, str]]
    evaluation: frozenset[str] = frozenset()
    given: frozenset[str] = frozenset()

    def before(self, first: str, second: str) -> bool:
        """Whether what one layer puts out can reach another one: it comes first, and is no part of another expert.

        The experts of a mixture serve samples of their own, side by side, whatever the order in which they ran.
        """
        apart = side_by_side(self.expert.get(first), self.expert.get(second))
        return not apart and self.place[first] < self.place[second]


#: Whether the first finding, the cause, explains the second one, the effect.
Explains = Callable[[Finding, Finding, Circumstances], bool]


def key(finding: Finding) -> tuple[str, str]:
    """A finding's layer and condition, which are unique in a diagnosis."""
    return finding.layer, finding.condition


def comes_first(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """The cause began first. Updates tie all layers together, so what comes later follows, wherever it is."""
    return around.order[key(cause)] < around.order[key(effect)]


def upstream(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """The cause is in a layer before the effect's."""
    return around.before(cause.layer, effect.layer)


def not_after(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """The cause is in the effect's layer or in one before it."""
    return cause.layer == effect.layer or around.before(cause.layer, effect.layer)


def earlier_and_not_after(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """The cause began no later, in the effect's layer or in one before it."""
    return cause.first_step <= effect.first_step and not_after(cause, effect, around)


def passes_nothing_back(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """The cause is of a layer through which no gradient comes any more, and the effect of one before it, later.

    What a layer that gets no gradient does from then on is what weight decay and chance make of it.
    """
    later = cause.severity == "critical" and cause.first_step < effect.first_step
    return later and around.before(effect.layer, cause.layer)


def same_layer(cause: Finding, effect: Finding, around: Circumstances) -> bool:
    """Both are in one layer."""
    return cause.layer == effect.layer


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
        judges: the groups of `layer_types` whose rows it judges: by default layers, in training and in evaluation.
            Most rules do not apply to others: gradients are small by design, zero where a neuron is off, and of any
            shape; counts of lookups, losses and parameters are no outputs.
        only_alone: whether it is told only of layers in which no rule before it found anything, since it would be
            another word for the same thing, or the mark that it left.
        by_harm: whether its warnings matter by what they do to learning alone: notes once it learns.
        passes: whether these are usual, too, while a loss is on its way below a constant answer's: notes until then.
        symptom: whether it counts as a consequence of any grave finding (serious or critical) of a rule before it that
            began no later, and not long before (`near_rows`). What is milder, or an old story, brings it not about.
        first_explains_all: whether only its first finding is a cause: it explains all that any later one would.
        handed_on: whether a layer that only hands its input on (dropout, pooling) cannot have caused it.
        gradual: whether it takes many rows to show, so that its onset, the first of these, may lie before that of what
            explains it, by up to `near_rows` rows.
        leads: whether its culprits are told before those of other rules, whatever began first: what they are about is
            what the training is for.
        shows: the statistic (of `heatmap.STATISTICS`) in whose curve a person sees it.
        compared: numbers of its evidence that belong beside that curve, and what they are.
        explains: the conditions that a finding of this rule can explain, each with the pairs of findings for which
            it does (the functions above are the usual ones). The rule of an effect comes later in `RULES`, or the
            effect comes later in time or down the network, so that there are no circles.
        explained_by: the conditions of other rules that can explain this one, likewise. For a new rule, so that those
            rules' files stay as they are; `explains` of the other rule counts first.
    """

    condition: ClassVar[str]
    adjective: ClassVar[str]
    judges: ClassVar[frozenset[str]] = layer_types.OUTPUTS
    only_alone: ClassVar[bool] = False
    by_harm: ClassVar[bool] = False
    passes: ClassVar[bool] = False
    symptom: ClassVar[bool] = False
    first_explains_all: ClassVar[bool] = False
    handed_on: ClassVar[bool] = False
    gradual: ClassVar[bool] = False
    leads: ClassVar[bool] = False
    shows: ClassVar[str] = "rms"
    compared: ClassVar[Mapping[str, str]] = {}
    explains: ClassVar[Mapping[str, Explains]] = {}
    explained_by: ClassVar[Mapping[str, Explains]] = {}

    def applies(self, info: LayerInfo) -> bool:
        """Whether a layer of this type and dtype can have the condition; by default every layer."""
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
        return ()

    def suspects(self, network: Network, thresholds: _T_contra) -> Container[int] | None:
        """The places of all layers that may have it, among those with enough rows; None, the default, for any may.

        What is found for all layers at once, or for most by a look, need not be asked of each: of the others `check`
        says nothing. It is asked once for each group of layers.
        """
        return None

    @abstractmethod
    def check(self, layer: LayerView, network: Network, thresholds: _T_contra) -> Finding | Outcome:
        """The finding for one layer, or why there is none. Called with at least `needs` rows."""

    def shown(self, finding: Finding) -> str:
        """The statistic in whose curve a person sees this finding; by default `shows`."""
        return self.shows

    def limits(self, finding: Finding, thresholds: _T_contra) -> tuple[tuple[float, str], ...]:
        """Lines to draw beside that curve: numbers that it was compared with, and what they are."""
        return tuple(each for name, what in self.compared.items() for each in line(finding, name, what))

    def asked(self, finding: Finding) -> Hashable:
        """What `explains`, or `explained_by` of other rules, asks of this finding's evidence; by default nothing.

        Findings that are equal in it, in severity, in cause and in condition explain the same, but for where they are
        and since when: of thousands only a few are asked then (`earliest`). What an unused expert's finding says of its
        mixture needs no mention.
        """
        return None

    def stands_alone(self, finding: Finding, layer_type: str) -> bool:
        """Whether a finding that explains nothing and that nothing explains is worth telling; by default it is."""
        return True


def line(finding: Finding, evidence: str, what: str, factor: float = 1.0) -> tuple[tuple[float, str], ...]:
    """A number of a finding's evidence, times a factor, as one of `Rule.limits`; none where it has no such number."""
    value = finding.evidence.get(evidence)
    return ((value * factor, what),) if isinstance(value, (int, float)) else ()
