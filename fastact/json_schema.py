"""JSON Schemas of dataclasses, from the dataclasses themselves, so that the two cannot differ.

Types tell what a field holds, the docstring's ``Attributes:`` what it means; a property counts as a field.
"""

import dataclasses
import re
import types
from collections.abc import Mapping
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

#: The dialect of all schemas here.
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_PLAIN: Final = {str: "string", int: "integer", float: "number", bool: "boolean", types.NoneType: "null"}

#: The schemas of some fields, by class and name, where types do not say all.
Values = Mapping[tuple[type[Any], str], dict[str, Any]]


def object_of(
    cls: type[Any], values: Values | None = None, special: Mapping[Any, dict[str, Any]] | None = None
) -> dict[str, Any]:
    """The schema of a dataclass as its `to_dict` gives it: all fields and properties, each required and described.

    Args:
        cls: the dataclass; one that occurs within it is referred to by name, in ``$defs``.
        values: schemas of some fields, by class and name.
        special: schemas of some types.

    Example:
        >>> @dataclasses.dataclass
        ... class Point:
        ...     '''A place.
        ...
        ...     Attributes:
        ...         x: how far to the right; None where unknown.
        ...     '''
        ...     x: float | None
        >>> object_of(Point)["properties"]
        {'x': {'type': ['number', 'null'], 'description': 'how far to the right; None where unknown.'}}
    """
    values, special = values or {}, special or {}
    hints, said = get_type_hints(cls), described(cls)
    for name, item in vars(cls).items():
        if isinstance(item, property) and item.fget is not None:
            hints[name] = get_type_hints(item.fget)["return"]
            said[name] = (item.__doc__ or "").splitlines()[0]
    properties = {
        name: {**(values.get((cls, name)) or _value(hint, special)), "description": said[name]}
        for name, hint in hints.items()
    }
    return {"type": "object", "properties": properties, "required": list(properties)}


def document(name: str, title: str, root: dict[str, Any], *defs: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """A whole schema: that of an object, and those that it refers to."""
    own = {"$schema": DIALECT, "$id": f"urn:fastact:{name}", "title": title, **root}
    return own | ({"$defs": dict(defs)} if defs else {})


def described(cls: type[Any]) -> dict[str, str]:
    """What a dataclass's docstring says of its attributes."""
    text = (cls.__doc__ or "").partition("Attributes:\n")[2]
    entries = re.findall(r"^ {8}(\w+): (.*(?:\n {12}.*)*)", text, re.MULTILINE)
    return {name: " ".join(said.split()) for name, said in entries}


def _value(hint: Any, special: Mapping[Any, dict[str, Any]]) -> dict[str, Any]:
    """The schema of a field's values, from its type."""
    if hint in special:
        return special[hint]
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return {"$ref": f"#/$defs/{hint.__name__}"}
    if get_origin(hint) is Literal:
        return {"enum": list(get_args(hint))}
    if get_origin(hint) is tuple:
        return {"type": "array", "items": _value(get_args(hint)[0], special)}
    if isinstance(hint, types.UnionType):
        parts = get_args(hint)
        if all(part in _PLAIN for part in parts):
            return {"type": [_PLAIN[part] for part in parts]}
        return {"anyOf": [_value(part, special) for part in parts]}
    return {"type": _PLAIN[hint]}
