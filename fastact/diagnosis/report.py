"""A diagnosis as a value: findings, notes, what is accepted, what was not seen, and the health of each layer."""

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fastact import plots
from fastact.diagnosis.finding import Finding
from fastact.diagnosis.frozen import made_quickly
from fastact.diagnosis.timeline import Episode
from fastact.errors import ArgumentTypeError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@made_quickly
@dataclass(frozen=True, slots=True)
class LayerHealth:
    """One layer's line in the health table.

    Attributes:
        name: the layer's name.
        kind: its type; "" when unknown.
        mean: mean of the finite elements in its last row; None where there is none.
        std: their population standard deviation; None where there is none.
        dead: share of dead neurons in its last row; without per-neuron rows 1.0 for a layer that is all zero; None
            where unknown.
        saturated: share of saturated elements over the recent rows; None for types without bounds.
        status: the condition of its gravest finding; without one "accepted" where findings were accepted, "not enough
            data", or "healthy".
        severity: that finding's severity; "" without one.
        not_judged: conditions for which there was not enough data.
        rows: rows seen since the start, those that have left the window included.
        first_step: the step of its first row; None without rows.
        last_step: the step of its last row; None without rows.
    """

    name: str
    kind: str
    mean: float | None
    std: float | None
    dead: float | None
    saturated: float | None
    status: str
    severity: str
    not_judged: tuple[str, ...]
    rows: int
    first_step: int | None
    last_step: int | None

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain lists, strings and finite numbers; None where there is none."""
        result = {name: getattr(self, name) for name in self.__slots__}
        result["not_judged"] = list(self.not_judged)
        return result


@dataclass(frozen=True, slots=True)
class Note:
    """What is true of some layers and does no harm: one line for the whole network.

    Attributes:
        condition: as in `Finding`.
        layers: the layers, in forward order.
        first_step: the step since which it has held in the first of them.
        message: one sentence.
    """

    condition: str
    layers: tuple[str, ...]
    first_step: int
    message: str

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain lists, strings and numbers."""
        return {name: getattr(self, name) for name in self.__slots__} | {"layers": list(self.layers)}

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class Accepted:
    """A finding that the user has accepted: it is shown apart, and does not count.

    Attributes:
        finding: what was found.
        reason: why it is accepted, in the user's words; "" where none was given.
    """

    finding: Finding
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """The finding's fields and the reason."""
        return self.finding.to_dict() | {"reason": self.reason}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is wrong, where, since when and why. Two diagnoses of the same rows are equal.

    Attributes:
        findings: the first culprit first, each culprit followed by its consequences.
        layers: one entry per layer in forward order.
        notes: what is true and does no harm, a line each.
        accepted: findings that the user has accepted, and what follows from them.
        unseen: what was watched and not recorded, as pairs of a name and the reason.
        accepted_in_vain: what was accepted and not found, such as "encoder.3: dead", so that it may be out of date.
        timeline: for how long each finding and note held, those that are gone included, as far as it was looked for.
    """

    findings: tuple[Finding, ...]
    layers: tuple[LayerHealth, ...]
    notes: tuple[Note, ...] = ()
    accepted: tuple[Accepted, ...] = ()
    unseen: tuple[tuple[str, str], ...] = ()
    accepted_in_vain: tuple[str, ...] = ()
    timeline: tuple[Episode, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether something was recorded and nothing found that counts.

        `LayerHealth.status` tells healthy from not enough data.
        """
        return not self.findings and any(layer.rows for layer in self.layers)

    @property
    def culprits(self) -> tuple[Finding, ...]:
        """The findings that no other one explains, the first culprit first."""
        return tuple(finding for finding in self.findings if finding.consequence_of is None)

    def since(self, step: int) -> "Diagnosis":
        """The same without findings and notes that began before a step: what is new. The layers stay as they are."""
        return replace(
            self,
            findings=tuple(finding for finding in self.findings if finding.first_step >= step),
            notes=tuple(note for note in self.notes if note.first_step >= step),
            accepted=tuple(each for each in self.accepted if each.finding.first_step >= step),
            timeline=tuple(each for each in self.timeline if each.first_step >= step),
        )

    def to_dict(self) -> dict[str, Any]:
        """The diagnosis as plain dicts, lists, strings, finite numbers and None."""
        return {
            "healthy": self.healthy,
            "findings": [finding.to_dict() for finding in self.findings],
            "layers": [layer.to_dict() for layer in self.layers],
            "notes": [note.to_dict() for note in self.notes],
            "accepted": [accepted.to_dict() for accepted in self.accepted],
            "unseen": dict(self.unseen),
            "accepted_in_vain": list(self.accepted_in_vain),
            "timeline": [episode.to_dict() for episode in self.timeline],
        }

    def to_json(self, indent: int | None = None) -> str:
        """The diagnosis as strict JSON (ASCII, no NaN, no Infinity)."""
        return json.dumps(self.to_dict(), indent=indent, allow_nan=False)

    def to_html(self, source: Any = None, *, title: str = "run") -> str:
        """The diagnosis as one HTML file's text, which needs no network and is at most 400 kB.

        Args:
            source: the rows that it was made from, so that its findings are drawn and there is a heat map of layers by
                steps: a monitor, its `history`, or a log. Of a monitor and a log it is also shown which neurons are
                dead. Without it there is text alone.
            title: what the run is called.

        Raises:
            ArgumentTypeError: `source` is neither, or `title` is no text.

        Example:
            >>> page = Diagnosis((), ()).to_html()
            >>> page[:15], "Nothing was recorded" in page
            ('<!doctype html>', True)
        """
        from fastact.diagnosis.show.neuron_maps import with_dead_neurons
        from fastact.diagnosis.show.webpage import Subject, document, is_loss  # shows what is defined here
        from fastact.heatmap.collect import collect

        if not isinstance(title, str):
            raise ArgumentTypeError(f"title: got {type(title).__name__}, want text")
        rows = getattr(source, "history", source)
        cells = None if rows is None else collect(rows, is_loss)
        sick = with_dead_neurons(self) if hasattr(source, "neurons") else []
        return document([Subject(title, self, cells, neurons=[source.neurons(name) for name in sick])])

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draws each finding as a bar from the step since which it holds on, in the line of its layer.

        What another finding explains is hollow. `Log.plot` marks findings on a heat map, or on curves.

        Args:
            ax: axes of matplotlib to draw on; by default those of a new figure.

        Raises:
            MissingExtraError: matplotlib is not installed.

        Example:
            >>> from matplotlib.figure import Figure
            >>> Diagnosis((), ()).plot(Figure().add_subplot()).get_title("left")
            'findings'
        """
        return plots.timeline(self.findings, self.layers, ax)

    def _repr_html_(self) -> str:
        from fastact.diagnosis.show.card import card  # shows what is defined here

        return card(self).to_html()

    def __str__(self) -> str:
        from fastact.diagnosis.show.render import render_text  # shows what is defined here

        return render_text(self)
