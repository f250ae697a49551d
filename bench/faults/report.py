"""The figures as tables: one line for each judge, and one for each kind of fault."""

from typing import Any, Final

from bench import RESULTS
from bench.tables import Lines
from bench.zoo.report import with_interval

__all__ = ["SOURCE", "judge_lines", "kind_lines"]

SOURCE: Final = RESULTS / "faults.json"

_COLUMNS: Final = {
    "found": "found", "right": "right kind", "first": "first sentence right", "soon": "before step 20",
    "layer": "right layer", "twins_alarmed": "alarms on twins", "look_alikes_alarmed": "on look-alikes",
}  # fmt: skip


def judge_lines(part: dict[str, Any]) -> Lines:
    """Fastact and the published rules of others, over the same rows."""
    return _lines("rules", part["judges"])


def kind_lines(part: dict[str, Any]) -> Lines:
    """Fastact by kind of fault, by framework, and over all."""
    return _lines("kind of fault", {**part["kinds"], **part["frameworks"], "all": part["judges"]["fastact"]})


def _lines(what: str, counted: dict[str, dict[str, Any]]) -> Lines:
    header = [what, "programs", *_COLUMNS.values(), "median step"]
    rows = [
        [
            name,
            f"{it['faulty'] or it['look_alikes_alarmed_of']}",
            *(with_interval(it[share], it[f"{share}_wilson"]) for share in _COLUMNS),
            "-" if it["median_step"] is None else f"{it['median_step']:g}",
        ]
        for name, it in counted.items()
    ]
    return Lines(header, [column == what for column in header], rows)
