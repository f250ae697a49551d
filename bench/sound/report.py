"""The figures of drawn trainings as tables, and as the README tells them."""

import json
from typing import Any, Final

from bench import RESULTS
from bench.tables import Lines, markdown
from bench.zoo.report import with_interval

__all__ = ["HELD_OUT", "SOURCE", "family_lines", "seed_lines", "sound_part"]

SOURCE: Final = RESULTS / "sound.json"
#: The seed whose trainings nobody looks at one by one.
HELD_OUT: Final = 9
#: Those that were held out until then: their figures are of that time, and they have been open for tuning since.
_WHEN_HELD_OUT: Final = {2: "2026-12-01"}


def seed_lines(seeds: dict[str, dict[str, Any]]) -> Lines:
    """One line for each seed."""
    header = [
        "drawn", "trainings", "learned", "false alarms a sound run", "sound runs with one", "notes a run",
        "others", "of them diagnosed",
    ]  # fmt: skip
    rows = [
        [
            f"seed {seed}, {_how(int(seed))}",
            f"{it['drawn']}",
            f"{it['sound']}",
            _rate(it),
            with_interval(it["alarmed_share"], it["alarmed_wilson"]),
            "-" if it["notes_per_sound_run"] is None else f"{it['notes_per_sound_run']:.2f}",
            f"{it['unsound']}",
            with_interval(it["diagnosed"], it["diagnosed_wilson"]),
        ]
        for seed, it in sorted(seeds.items())
    ]
    return Lines(header, [name == "drawn" for name in header], rows)


def _how(seed: int) -> str:
    if seed == HELD_OUT:
        return "held out"
    return f"held out until {_WHEN_HELD_OUT[seed]}" if seed in _WHEN_HELD_OUT else "tuned on"


def family_lines(figures: dict[str, Any]) -> Lines:
    """One line for each family of architectures."""
    header = ["architecture", "learned", "with an alarm", "alarms", "others", "diagnosed"]
    columns = ("sound", "alarmed", "alarms", "unsound", "diagnosed")
    rows = [[name, *(f"{it[column]}" for column in columns)] for name, it in figures["families"].items()]
    return Lines(header, [name == "architecture" for name in header], rows)


def sound_part() -> str:
    """The table of all seeds, and what stands behind it."""
    results = json.loads(SOURCE.read_text(encoding="utf-8"))
    machine, seeds = results["machine"], results["seeds"]
    told = (
        "Trainings drawn at random, so that nobody chose the cases: data that scikit-learn ships and made data, "
        "architecture, width, depth, activation, norm, dropout, initialisation, optimiser and rate, batches, schedule, "
        "clipping, precision, loss, evaluation passes, and what is watched. One counts as learned when its loss fell "
        "and its skill on samples held out passes its task's bar (1 is perfect, 0 a constant answer); whatever is said "
        "of it, at any step and severity, is counted as a false alarm, true or not. The others nobody made faulty: "
        "most ask for a better rate or more steps."
    )
    kinds = [f"{count} {kind}" for it in [seeds.get(str(HELD_OUT), {})] for kind, count in it.get("kinds", {}).items()]
    what = f"Alarms of the held-out seed by kind: {', '.join(kinds)}. " if kinds else ""
    note = (
        f"{what}In brackets: 95% intervals, Poisson's of rates and Wilson's of shares. Diagnosed: something is named "
        f"at the end. Asked after every third recorded step. Python {machine['python']}, torch "
        f"{machine['versions'].get('torch', '?')}; {results['date']}. `python -m bench.sound --logs FOLDER` draws, "
        "trains and judges them."
    )
    return "\n\n".join((told, markdown(seed_lines(seeds)), note))


def _rate(it: dict[str, Any]) -> str:
    if it["alarms_per_sound_run"] is None:
        return "-"
    low, high = it["alarms_poisson"]
    return f"{it['alarms_per_sound_run']:.3f} ({low:.3f}–{high:.3f})"
