"""The zoo's results as Markdown: what `scripts.readme` puts into the README and onto the page beside the results."""

import json
from typing import Any, Final

from bench import RESULTS
from bench.tables import Lines, markdown

__all__ = ["SOURCE", "failures", "lines", "zoo_part"]

SOURCE: Final = RESULTS / "zoo.json"

_HEADER: Final = (
    "rules", "recall", "right layer", "false alarms a run", "true but harmless", "precision", "found in 20 steps",
    "median steps",
)  # fmt: skip


def lines(scores: dict[str, dict[str, Any]]) -> Lines:
    """One line for each judge; "-" where there is nothing to count."""
    rows = [
        [
            name,
            _figure(it["recall"]),
            _figure(it["right_layer"]),
            _figure(it["alarms_per_healthy_run"]),
            _figure(it["harmless_per_healthy_run"]),
            _figure(it["precision"]),
            _figure(it["found_soon"]),
            "-" if it["median_steps"] is None else f"{it['median_steps']:g}",
        ]
        for name, it in scores.items()
    ]
    return Lines(list(_HEADER), [name == "rules" for name in _HEADER], rows)


def _figure(share: float | None) -> str:
    return "-" if share is None else f"{share:.2f}"


def failures(runs: list[dict[str, Any]]) -> list[str]:
    """What fastact's own rules got wrong, one line a run."""
    result = []
    for run in runs:
        verdict = run["verdict"]
        wrong = [f"{condition} in {layer} at step {step}" for layer, condition, step in verdict["alarms"]]
        if wrong:
            more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
            result.append(f"{run['name']}: false alarm: {', '.join(wrong[:3])}{more}")
        if run["fault"] and verdict["found"] is None:
            result.append(f"{run['name']} ({run['fault']}): not found")
        if verdict["layer"] is False:
            result.append(f"{run['name']} ({run['fault']}): found, but as {verdict['said'][0]}")
    return result


def zoo_part(*, part: str = "held-out") -> str:
    """The head-to-head table of one part and what stands behind it."""
    results = json.loads(SOURCE.read_text())
    it = results["parts"][part]
    own = it["scores"]["fastact"]
    machine = results["machine"]
    where = f"Python {machine['python']}, torch {machine['versions'].get('torch', '?')}; {results['date']}"
    note = (
        f"{own['sick']} training runs with a planted fault that did harm and {own['healthy']} healthy ones that "
        "trained well, on real data; diagnosed after every step, at any severity. Recall: a right condition was named. "
        "Right layer: of those found with the fault in one place, the first culprit was there. A false alarm is a "
        "layer and a condition in a healthy run; dead neurons that a census over all training data found dead too are "
        "true but harmless. Precision: of the runs in which something was named, those in which it was a fault. "
        "Found in 20 steps: of all sick runs, within 20 recorded steps of the onset. "
        f"{where}. `python -m bench.zoo` trains and judges it all in minutes."
    )
    return f"{markdown(lines(it['scores']))}\n\n{note}"
