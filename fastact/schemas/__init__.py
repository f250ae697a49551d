"""The published JSON Schemas of what ``--json`` puts out: files beside this one, made by ``python -m scripts.schemas``.

Fields may be added to what a schema describes; none that it has goes away without a new ``$id``.
"""

from collections.abc import Callable
from typing import Any, Final

from fastact.checks import check_choice
from fastact.comparison.schema import comparison_schema
from fastact.diagnosis.schema import layers_schema, report_schema
from fastact.neurons import neurons_schema
from fastact.replay.records import record_schema
from fastact.replay.tail import tail_schema

#: The schemas by the command whose ``--json`` they describe.
SCHEMAS: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "diagnose": report_schema,
    "compare": comparison_schema,
    "layers": layers_schema,
    "neurons": neurons_schema,
    "replay": record_schema,
    "tail": tail_schema,
}


def published(name: str) -> str:
    """The schema of a command's ``--json``, as its file has it.

    Raises:
        ArgumentValueError: there is none.

    Example:
        >>> import json
        >>> json.loads(published("compare"))["title"]
        'Comparison'
    """
    from importlib.resources import files

    check_choice("name", name, SCHEMAS)
    return files(__name__).joinpath(f"{name}.json").read_text(encoding="utf-8")
