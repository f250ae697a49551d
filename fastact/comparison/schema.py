"""The JSON Schema of a comparison as JSON: what `Comparison.to_json` and ``fastact compare --json`` put out."""

from typing import Any

from fastact.comparison.report import Comparison, LayerComparison, Parting
from fastact.comparison.statistics import NAMES
from fastact.diagnosis.finding import Finding
from fastact.diagnosis.schema import SPECIAL, part_schema
from fastact.json_schema import Values, document, object_of


def comparison_schema() -> dict[str, Any]:
    """The schema (JSON Schema, draft 2020-12) as plain dicts and lists.

    Example:
        >>> comparison_schema()["properties"]["first"]["anyOf"]
        [{'$ref': '#/$defs/Parting'}, {'type': 'null'}]
    """
    values: Values = {
        (Parting, "statistic"): {"enum": [*NAMES]},
        (LayerComparison, "statistic"): {"enum": ["", *NAMES]},
    }
    own = [(cls.__name__, object_of(cls, values, SPECIAL)) for cls in (Parting, LayerComparison)]
    root = object_of(Comparison, values, SPECIAL)
    return document("comparison:1", "Comparison", root, *own, ("Finding", part_schema(Finding)))
