"""The JSON Schema of a diagnosis as JSON: what `Diagnosis.to_json` and ``fastact diagnose --json`` put out.

It is made from the dataclasses themselves, so that it cannot differ from them.
"""

import re
import types
from collections.abc import Mapping
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from fastact.diagnosis import rules
from fastact.diagnosis.finding import NOTE, SEVERITIES, Evidence, Finding
from fastact.diagnosis.report import Accepted, Diagnosis, LayerHealth, Note

_PLAIN: Final = {str: "string", int: "integer", float: "number", bool: "boolean", types.NoneType: "null"}


def report_schema() -> dict[str, Any]:
    """The schema (JSON Schema, draft 2020-12) as plain dicts and lists.

    Fields may be added to what it describes; none that it has goes away without a new ``$id``.

    Example:
        >>> schema = report_schema()
        >>> schema["required"]
        ['healthy', 'findings', 'layers', 'notes', 'accepted', 'unseen', 'accepted_in_vain']
        >>> schema["$defs"]["Finding"]["properties"]["first_step"]
        {'type': 'integer', 'description': 'the step since which it has held without a break, even if that step
        has left the window.'}
    """
    said = _described(Diagnosis)
    lists = {
        name: {"type": "array", "description": said[name], "items": {"$ref": f"#/$defs/{cls.__name__}"}}
        for name, cls in (("findings", Finding), ("layers", LayerHealth), ("notes", Note), ("accepted", Accepted))
    }
    unseen = {"type": "object", "description": said["unseen"], "additionalProperties": {"type": "string"}}
    vain = {"type": "array", "description": said["accepted_in_vain"], "items": {"type": "string"}}
    properties = {
        "healthy": {"type": "boolean", "description": "whether nothing was found that counts."},
        **lists,
        "unseen": unseen,
        "accepted_in_vain": vain,
    }
    conditions = [rule.condition for rule in rules.RULES]
    # What the types do not say.
    values: dict[tuple[type, str], Any] = {
        (Finding, "condition"): {"enum": conditions},
        (Finding, "severity"): {"enum": [*SEVERITIES]},
        (Note, "condition"): {"enum": conditions},
        (LayerHealth, "status"): {"enum": ["healthy", "not enough data", "accepted", *conditions]},
        (LayerHealth, "severity"): {"enum": ["", *SEVERITIES]},
        (LayerHealth, "not_judged"): {"type": "array", "items": {"enum": conditions}},
    }
    objects = {cls.__name__: _object(cls, values) for cls in (Finding, LayerHealth, Note)}
    # An accepted finding has the fields of a finding, may be a note, and has the reason.
    accepted = objects["Finding"]["properties"] | {
        "severity": objects["Finding"]["properties"]["severity"] | {"enum": [NOTE, *SEVERITIES]},
        "reason": {"type": "string", "description": _described(Accepted)["reason"]},
    }
    objects["Accepted"] = {"type": "object", "properties": accepted, "required": list(accepted)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:fastact:diagnosis:1",
        "title": "Diagnosis",
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "$defs": objects,
    }


def _object(cls: type[Any], values: Mapping[tuple[type, str], Any]) -> dict[str, Any]:
    hints, described = get_type_hints(cls), _described(cls)
    for name, item in vars(cls).items():
        if isinstance(item, property) and item.fget is not None:
            hints[name] = get_type_hints(item.fget)["return"]
            described[name] = (item.__doc__ or "").splitlines()[0]
    properties = {
        name: {**(values.get((cls, name)) or _value(hint)), "description": described[name]}
        for name, hint in hints.items()
    }
    return {"type": "object", "properties": properties, "required": list(properties)}


def _value(hint: Any) -> dict[str, Any]:
    """The schema of a field's values, from its type."""
    if hint is Evidence:
        return {"type": "object", "additionalProperties": {"type": ["number", "string"]}}
    if get_origin(hint) is Literal:
        return {"enum": list(get_args(hint))}
    if get_origin(hint) is tuple:
        return {"type": "array", "items": _value(get_args(hint)[0])}
    if isinstance(hint, types.UnionType):
        return {"type": [_PLAIN[part] for part in get_args(hint)]}
    return {"type": _PLAIN[hint]}


def _described(cls: type[Any]) -> dict[str, str]:
    """What a dataclass's docstring says of its attributes."""
    text = (cls.__doc__ or "").partition("Attributes:\n")[2]
    entries = re.findall(r"^ {8}(\w+): (.*(?:\n {12}.*)*)", text, re.MULTILINE)
    return {name: " ".join(said.split()) for name, said in entries}
