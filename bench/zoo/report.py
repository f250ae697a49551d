"""The zoo's results as Markdown: what `scripts.readme` puts into the README and onto the page beside the results."""

import json
from collections.abc import Sequence
from typing import Any, Final

from bench import RESULTS
from bench.tables import Lines, markdown

__all__ = ["SOURCE", "answers", "failures", "kind_lines", "lines", "sureness", "with_interval", "zoo_part"]

SOURCE: Final = RESULTS / "zoo.json"

_HEADER: Final = (
    "rules", "recall", "right layer", "false alarms a run", "true but harmless", "precision", "found in 20 rows",
    "median rows",
)  # fmt: skip
_KINDS: Final = (
    "kind of fault", "runs", "found", "in 20 rows", "right layer", "right cause", "first sentence right", "kept",
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


def kind_lines(part: dict[str, Any]) -> Lines:
    """One line for each kind of fault, and one for all, each share with Wilson's interval."""
    kinds = sorted(part["kinds"].items(), key=lambda item: (-item[1]["sick"], item[0]))
    rows = [
        [
            name,
            f"{it['sick']}",
            *(
                with_interval(it[share], it[f"{share}_wilson"])
                for share in ("recall", "found_soon", "right_layer", "right_cause", "right_first", "kept")
            ),
        ]
        for name, it in [*kinds, ("all", part["scores"]["fastact"])]
    ]
    return Lines(list(_KINDS), [name == _KINDS[0] for name in _KINDS], rows)


def sureness(confidence: dict[str, dict[str, Any]]) -> str:
    """How often first sentences are right by how sure they are, in words; "" of figures that do not tell it."""
    if not confidence:
        return ""
    parts = [
        f"{sure if sure != 'unknown' else 'of unknown cause'} {it['right']} of {it['told']}, "
        f"{with_interval(it['right'] / it['told'], it['wilson'])}"
        for sure, it in confidence.items()
    ]
    return f" First sentences at the end that were right, by how sure they said they were: {'; '.join(parts)}."


def answers(counts: dict[str, int]) -> str:
    """Where the right answer was at the end of the sick runs, in words; "" of figures that do not tell it."""
    where = ", ".join(f"{_WHERE[answer]} {count}" for answer, count in counts.items() if count)
    return f" The right answer at the end, of {sum(counts.values())} sick runs: {where}." if counts else ""


#: `score.ANSWERS` in words.
_WHERE: Final = {
    "first": "the first culprit",
    "later culprit": "a later culprit",
    "consequence": "put behind another finding",
    "other cause": "told with another cause alone",
    "other layer": "of another layer alone",
    "other condition": "not among the findings",
    "silent": "nothing told",
}


def with_interval(share: float | None, interval: Sequence[float] | None) -> str:
    """Such as 0.97 (0.91–0.99); "-" of nothing."""
    return "-" if share is None or interval is None else f"{share:.2f} ({interval[0]:.2f}–{interval[1]:.2f})"


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
        if not run["fault"]:
            continue
        if verdict["found"] is None:
            at_end = f"; at the end {verdict['said'][1]}" if verdict["said"][1] else ""
            result.append(f"{run['name']} ({run['fault']}): not found{at_end}")
        elif not verdict["first"]:
            what = [name for name in ("condition", "layer", "cause") if verdict[name] is False]
            result.append(f"{run['name']} ({run['fault']}): wrong {', '.join(what)}: {verdict['said'][0]}")
        if verdict["kept"] is False:
            result.append(f"{run['name']} ({run['fault']}): lost at the end, {verdict['said'][1] or 'healthy'}")
    return result


def zoo_part() -> str:
    """The tables of the held-out parts, and what stands behind them."""
    results = json.loads(SOURCE.read_text())
    machine = results["machine"]
    where = f"Python {machine['python']}, torch {machine['versions'].get('torch', '?')}; {results['date']}"
    parts = results["parts"]
    texts = []
    new = max((name for name in parts if name.startswith(_NEW)), default=None)
    if new is not None:
        texts += [_told(parts[new]), markdown(kind_lines(parts[new])), markdown(lines(parts[new]["scores"]))]
    if _OLD in parts:
        first = parts[_OLD]["scores"]["fastact"]
        texts += [
            (
                f"The first zoo's held-out part, which is older ({first['sick']} sick runs and {first['healthy']} "
                f"healthy ones): first sentence right "
                f"{with_interval(first['right_first'], first['right_first_wilson'])}."
            ),
            markdown(lines(parts[_OLD]["scores"])),
        ]
    texts += [
        f"A further part ({then['sick']} sick runs and {then['healthy']} healthy ones) was held out until "
        f"{then['date']} and has been open for tuning since. Before it was opened: recall {then['recall']:.2f}, right "
        f"layer {then['right_layer']:.2f}, first sentence right {then['right_first']:.2f}, "
        f"{then['alarms_per_healthy_run']:.3f} false alarms and {then['notes_per_healthy_run']:.2f} lines of notes a "
        "healthy run."
        for then in results.get("when_held_out", {}).values()
    ]
    texts.append(
        "Recall: a right condition was named. Right layer, right cause: of those found with the fault in one place or "
        "of one cause, the first culprit's was accepted. First sentence right: condition, layer and cause of the first "
        "culprit when the fault was found, of all sick runs. In 20 rows: within 20 recorded steps of the onset. Kept: "
        "of those found, still named at the end. A false alarm is a layer and a condition in a healthy run, at any "
        "step and severity; dead neurons that a census over all training data found dead too are true but harmless. "
        "Precision: of the runs in which something was named, those in which it was a fault. In brackets: Wilson's 95% "
        "intervals. Fastact is asked after every step, the rules of others after every tenth. "
        f"{where}. `python -m bench.zoo` trains and judges it all in minutes."
    )
    return "\n\n".join(texts)


#: The parts whose figures are shown: how the names of the later ones begin, of which the last is; and the first.
_NEW: Final = "held-out-"
_OLD: Final = "held-out"


def _told(part: dict[str, Any]) -> str:
    own = part["scores"]["fastact"]
    rate, poisson, drawn = own["alarms_per_healthy_run"], own["alarms_poisson"], own["alarms_by_architecture"]
    first = own["right_first_by_architecture"]
    return (
        f"{own['sick']} training runs with a planted fault that did harm and {own['healthy']} healthy ones that "
        f"trained well, of {part['architectures']} architectures that no rule was tuned on, on data that packages "
        "ship and on data that is made. Cases, accepted layers, conditions and causes were written before any rule was "
        "run on them, by one who wrote no rule, but of this project and after the kinds that users report. "
        f"False alarms a healthy run: {rate:.3f} (Poisson {_span(poisson)}; drawing architectures anew "
        f"{_span(drawn)}); lines of notes a healthy run: {own['notes_per_healthy_run']:.2f}. First sentence right, "
        f"drawing architectures anew: {_span(first)}.{sureness(own.get('confidence', {}))}"
        f"{answers(own.get('answers', {}))}"
    )


def _span(interval: list[float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:.3g} to {interval[1]:.3g}"
