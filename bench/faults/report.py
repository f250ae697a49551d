"""The figures as tables: one line for each judge, and one for each kind of fault."""

import json
from typing import Any, Final

from bench import RESULTS
from bench.tables import Lines, markdown
from bench.zoo.report import sureness, with_interval

__all__ = ["SOURCE", "faults_part", "judge_lines", "kind_lines"]

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


def faults_part() -> str:
    """The tables of the held-out part, or of the opened one until that was run, and what stands behind them."""
    results = json.loads(SOURCE.read_text(encoding="utf-8"))
    parts, machine = results["parts"], results["machine"]
    name = next((name for name in _SHOWN if name in parts), None)
    if name is None:
        return "The held-out programs have not been run yet: `python -m bench.faults --keep`."
    part = parts[name]
    own = part["judges"]["fastact"]
    then = "".join(_when_held_out(results, part) for part in results.get("when_held_out", {}))
    frameworks = ", ".join(f"{it['faulty']} in {_NAMES[name]}" for name, it in part["frameworks"].items())
    looking = own["look_alikes_alarmed_of"]
    told = (
        f"{own['faulty']} small programs with a fault as people ask about it ({frameworks}), each beside its repaired "
        f"twin, which learns where the fault does not, and {looking or 'no'} look-alikes that seem odd "
        f"and are right{_TUNED[name]}. Programs and what may be said of each were chosen by one who wrote "
        "no rule, but of this project, after the kinds that users and published taxonomies of faults report: they are "
        "no sample of what happens in the wild. "
        f"Of the programs that rules were tuned on from the first, {_of_tuning(parts)}.{then}"
        f"{sureness(own.get('confidence', {}))}"
    )
    note = (
        "Found: an accepted condition was named at some step. Right kind: and an accepted cause with it. First "
        "sentence right: the first culprit at the end has both. Before step 20: found within 20 steps of when it can "
        f"be known; programs run for {_LENGTHS[name]}. An alarm is any finding in a twin or a look-alike, at any step "
        "and severity. In brackets: Wilson's 95% intervals. Watched with losses, weights, gradients and updates; all "
        "rules read the same rows. "
        f"Python {machine['python']}, torch {machine['versions'].get('torch', '?')}; {results['date']}. "
        "`python -m bench.faults` runs and judges them all."
    )
    return "\n\n".join((told, markdown(_filled(kind_lines(part))), markdown(_filled(judge_lines(part))), note))


#: The parts whose figures are shown, the first that there is; how rules stand to each; the steps that programs run for.
_SHOWN: Final = ("held-out", "opened-5", "opened-4", "opened-3", "opened-2", "opened")
_OPENED: Final = ", and rules have been tuned on them since they were opened; those held out now have not been run yet"
_TUNED: Final = {
    "held-out": "; no rule was tuned on them",
    **dict.fromkeys(("opened-5", "opened-4", "opened-3", "opened-2", "opened"), _OPENED),
}
_LENGTHS: Final = {
    "held-out": "70 to 260",
    "opened-5": "70 to 220",
    "opened-4": "70 to 260",
    "opened-3": "60 to 230",
    "opened-2": "60 to 300",
    "opened": "40 to 60",
}
#: How frameworks are written.
_NAMES: Final = {"torch": "PyTorch", "keras": "Keras"}


def _of_tuning(parts: dict[str, Any]) -> str:
    if "tuning" not in parts:
        return "there are no figures"
    own = parts["tuning"]["judges"]["fastact"]
    return f"{with_interval(own['found'], own['found_wilson'])} are found"


def _when_held_out(results: dict[str, Any], part: str) -> str:
    """What a part came to as long as it was held out; rules have been tuned on it since."""
    then = results.get("when_held_out", {}).get(part)
    if then is None:
        return ""
    own = then["fastact"]
    alarms = " and ".join(
        f"{round(own[f'{what}_alarmed'] * own[f'{what}_alarmed_of'])} of {own[f'{what}_alarmed_of']} {name}"
        for what, name in (("twins", "twins"), ("look_alikes", "look-alikes"))
    )
    return (
        f" The {part} part, of {own['faulty']} programs, was held out until {then['date']}, when {own['found']:.2f} of "
        f"them were found, {own['right']:.2f} with their right kind, {own['first']:.2f} with the first sentence right "
        f"and {own['soon']:.2f} before step 20, with alarms on {alarms}; it has been opened for tuning since."
    )


def _filled(table: Lines) -> Lines:
    """A table without the columns that say nothing."""
    kept = [place for place in range(len(table.header)) if any(row[place] != "-" for row in table.rows)]
    return Lines(
        [table.header[place] for place in kept],
        [table.left[place] for place in kept],
        [[row[place] for place in kept] for row in table.rows],
    )
