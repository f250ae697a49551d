"""The JSON Schema of a diagnosis as JSON: what `Diagnosis.to_json` and ``fastact diagnose --json`` put out.

It is made from the dataclasses themselves, so that it cannot differ from them.
"""

import re
import types
from collections.abc import Mapping
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from fastact.diagnosis import rules
from fastact.diagnosis.finding import SEVERITIES, Evidence, Finding
from fastact.diagnosis.report import Diagnosis, LayerHealth

_PLAIN: Final = {str: "string", int: "integer", float: "number", bool: "boolean", types.NoneType: "null"}


def report_schema() -> dict[str, Any]:
    """The schema (JSON Schema, draft 2020-12) as plain dicts and lists.

    Fields may be added to what it describes; none that it has goes away without a new ``$id``.

    Example:
        >>> schema = report_schema()
        >>> schema["required"]
        ['healthy', 'findings', 'layers']
        >>> schema["$defs"]["Finding"]["properties"]["first_step"]
        {'type': 'integer', 'description': 'the step since which it has held without a break, even if that step
        has left the window.'}
    """
    findings, layers = (
        {"type": "array", "description": described, "items": {"$ref": f"#/$defs/{cls.__name__}"}}
        for cls, described in zip((Finding, LayerHealth), _described(Diagnosis).values(), strict=True)
    )
    conditions = [rule.condition for rule in rules.RULES]
    # What the types do not say.
    values: dict[tuple[type, str], Any] = {
        (Finding, "condition"): {"enum": conditions},
        (LayerHealth, "status"): {"enum": ["healthy", "not enough data", *conditions]},
        (LayerHealth, "severity"): {"enum": ["", *SEVERITIES]},
        (LayerHealth, "not_judged"): {"type": "array", "items": {"enum": conditions}},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:fastact:diagnosis:1",
        "title": "Diagnosis",
        "type": "object",
        "properties": {
            "healthy": {"type": "boolean", "description": "whether nothing was found."},
            "findings": findings,
            "layers": layers,
        },
        "required": ["healthy", "findings", "layers"],
        "$defs": {cls.__name__: _object(cls, values) for cls in (Finding, LayerHealth)},
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
