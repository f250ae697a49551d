"""The JSON Schema of a diagnosis as JSON: what `Diagnosis.to_json` and ``fastact diagnose --json`` put out.

It is made from the dataclasses themselves, so that it cannot differ from them.
"""

from typing import Any, Final

from fastact.diagnosis import rules
from fastact.diagnosis.finding import NOTE, SEVERITIES, Evidence, Finding
from fastact.diagnosis.report import Accepted, Diagnosis, LayerHealth, Note
from fastact.diagnosis.timeline import Episode
from fastact.json_schema import Values, described, document, object_of

#: Evidence is numbers and text by name.
SPECIAL: Final = {Evidence: {"type": "object", "additionalProperties": {"type": ["number", "string"]}}}
#: The lists that a diagnosis has, and what is in them.
_LISTS: Final = {
    "findings": Finding, "layers": LayerHealth, "notes": Note, "accepted": Accepted, "timeline": Episode,
}  # fmt: skip


def report_schema() -> dict[str, Any]:
    """The schema (JSON Schema, draft 2020-12) as plain dicts and lists.

    Fields may be added to what it describes; none that it has goes away without a new ``$id``.

    Example:
        >>> schema = report_schema()
        >>> schema["required"]
        ['healthy', 'findings', 'layers', 'notes', 'accepted', 'unseen', 'accepted_in_vain', 'timeline']
        >>> schema["$defs"]["Finding"]["properties"]["first_step"]
        {'type': 'integer', 'description': 'the step since which it has held without a break, even if that step
        has left the window.'}
    """
    said = described(Diagnosis)
    lists = {
        name: {"type": "array", "description": said[name], "items": {"$ref": f"#/$defs/{cls.__name__}"}}
        for name, cls in _LISTS.items()
    }
    unseen = {"type": "object", "description": said["unseen"], "additionalProperties": {"type": "string"}}
    vain = {"type": "array", "description": said["accepted_in_vain"], "items": {"type": "string"}}
    properties = {
        "healthy": {"type": "boolean", "description": "whether something was recorded and nothing found that counts."},
        **{name: of for name, of in lists.items() if name != "timeline"},
        "unseen": unseen,
        "accepted_in_vain": vain,
        "timeline": lists["timeline"],
    }
    objects = {cls.__name__: part_schema(cls) for cls in (Finding, LayerHealth, Note, Episode)}
    # An accepted finding has the fields of a finding, may be a note, and has the reason.
    accepted = objects["Finding"]["properties"] | {
        "severity": objects["Finding"]["properties"]["severity"] | {"enum": [NOTE, *SEVERITIES]},
        "reason": {"type": "string", "description": described(Accepted)["reason"]},
    }
    objects["Accepted"] = {"type": "object", "properties": accepted, "required": list(accepted)}
    root = {"type": "object", "properties": properties, "required": list(properties)}
    return document("diagnosis:1", "Diagnosis", root, *objects.items())


def part_schema(cls: type[Finding] | type[LayerHealth] | type[Note] | type[Episode]) -> dict[str, Any]:
    """The schema of one part of a diagnosis."""
    conditions = [rule.condition for rule in rules.RULES]
    # What the types do not say.
    values: Values = {
        (Finding, "id"): {"type": "string", "pattern": "^[0-9a-f]{12}$"},
        (Finding, "condition"): {"enum": conditions},
        (Finding, "severity"): {"enum": [*SEVERITIES]},
        (Note, "condition"): {"enum": conditions},
        (LayerHealth, "status"): {"enum": ["healthy", "not enough data", "accepted", *conditions]},
        (LayerHealth, "severity"): {"enum": ["", *SEVERITIES]},
        (LayerHealth, "not_judged"): {"type": "array", "items": {"enum": conditions}},
    }
    return object_of(cls, values, SPECIAL)


def layers_schema() -> dict[str, Any]:
    """The schema of ``fastact layers --json``."""
    layers = {"type": "array", "description": described(Diagnosis)["layers"], "items": {"$ref": "#/$defs/LayerHealth"}}
    root = {"type": "object", "properties": {"layers": layers}, "required": ["layers"]}
    return document("layers:1", "Layers", root, ("LayerHealth", part_schema(LayerHealth)))
