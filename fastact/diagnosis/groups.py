"""Several groups of ranks, which hold other layers or other parts of one: each judged by itself, told together."""

from collections.abc import Mapping
from dataclasses import replace

from fastact.diagnosis.finding import Finding
from fastact.diagnosis.report import Diagnosis


def combined(diagnoses: Mapping[str, Diagnosis]) -> Diagnosis:
    """One diagnosis of several, by the names of their groups, which come before the names of layers.

    Example:
        >>> second = Diagnosis((), (), unseen=(("fc", "it never ran"),))
        >>> combined({"stage 0": Diagnosis((), ()), "stage 1": second}).unseen
        (('stage 1/fc', 'it never ran'),)
    """
    if len(diagnoses) == 1:
        return next(iter(diagnoses.values()))
    every = [_named(diagnosis, f"{group}/") for group, diagnosis in diagnoses.items()]
    begun: list[list[Finding]] = []
    for diagnosis in every:
        for finding in diagnosis.findings:  # a culprit stays with what follows from it
            if finding.consequence_of is None:
                begun.append([])
            begun[-1].append(finding)
    return Diagnosis(
        tuple(finding for found in sorted(begun, key=lambda found: found[0].first_step) for finding in found),
        tuple(layer for diagnosis in every for layer in diagnosis.layers),
        tuple(note for diagnosis in every for note in diagnosis.notes),
        tuple(accepted for diagnosis in every for accepted in diagnosis.accepted),
        tuple(unseen for diagnosis in every for unseen in diagnosis.unseen),
        tuple(name for diagnosis in every for name in diagnosis.accepted_in_vain),
    )


def _named(diagnosis: Diagnosis, prefix: str) -> Diagnosis:
    def of(finding: Finding) -> Finding:
        culprit = finding.consequence_of
        return replace(
            finding,
            layer=prefix + finding.layer,
            consequence_of=None if culprit is None else prefix + culprit,
            message=f"{prefix[:-1]}: {finding.message}",
        )

    return Diagnosis(
        tuple(map(of, diagnosis.findings)),
        tuple(replace(layer, name=prefix + layer.name) for layer in diagnosis.layers),
        tuple(replace(note, layers=tuple(prefix + name for name in note.layers),
                      message=f"{prefix[:-1]}: {note.message}") for note in diagnosis.notes),
        tuple(replace(each, finding=of(each.finding)) for each in diagnosis.accepted),
        tuple((prefix + name, why) for name, why in diagnosis.unseen),
        tuple(prefix + name for name in diagnosis.accepted_in_vain),
    )  # fmt: skip
