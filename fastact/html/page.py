"""A report as one HTML file: templates, with the styles and scripts of `assets` in it, and nothing from anywhere else.

A Content-Security-Policy forbids the page every connection, and every script and style but its own, which it knows by
their hashes. Whatever comes from a log is escaped by the templates.
"""

import base64
import functools
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fastact.html.colours import DIVERGING, SEQUENTIAL

_HERE: Final = Path(__file__).parent
#: The scripts in the order in which they run, as one.
_SCRIPTS: Final = ("data.js", "scales.js", "tree.js", "map.js", "keys.js", "charts.js", "main.js")
#: Bytes of the largest report.
MOST_BYTES: Final = 400_000


@dataclass(frozen=True)
class Section:
    """What is shown of one run: plain text, numbers, and charts as `curves.Chart.drawn` gives them.

    Attributes:
        name: the run's name.
        severity: that of its gravest finding; "healthy" or "unknown" without one.
        headline: the one sentence.
        besides: what is told right after it.
        advice: why, and what to try: pairs of what a line is and the line.
        findings: the findings, each a dict: see `templates/findings.html`.
        more: how many findings more there are than are shown.
        notes: a line each.
        gone: what was found on the way and is no more, a line each.
        accepted: a line each.
        losses: a line each.
        table: the layers' health: rows of (name, type, mean, std, dead, saturated, status, severity, link).
        left_out: how many healthy layers the table does not show.
        unseen: a line each.
        facts: pairs of what and what it is.
        about: what was merged, and what the report does not hold, a line each.
        neurons: maps of neurons by steps, a dict each: see `templates/neurons.html`.
        loss: the chart of the losses, None without any.
        image: the static heat map, a dict; None without rows.
        data: what the script needs; it becomes JSON. None without rows.
        blob: its numbers in base64.
    """

    name: str
    severity: str
    headline: str
    besides: str = ""
    advice: Sequence[tuple[str, str]] = ()
    findings: Sequence[dict[str, Any]] = ()
    more: int = 0
    notes: Sequence[str] = ()
    gone: Sequence[str] = ()
    accepted: Sequence[str] = ()
    losses: Sequence[str] = ()
    table: Sequence[tuple[Any, ...]] = ()
    left_out: int = 0
    unseen: Sequence[str] = ()
    facts: Sequence[tuple[str, str]] = ()
    about: Sequence[str] = ()
    neurons: Sequence[dict[str, Any]] = ()
    loss: dict[str, Any] | None = None
    image: dict[str, Any] | None = None
    data: dict[str, Any] | None = None
    blob: str = ""


@dataclass(frozen=True)
class Page:
    """A report: one section for each run, and what is said of all of them first."""

    title: str
    sections: Sequence[Section]
    made: str = ""
    comparison: dict[str, Any] | None = None
    #: Seconds after which a browser loads the file again; 0 for never.
    again: int = 0
    extra: dict[str, Any] = field(default_factory=dict)


@functools.cache
def environment() -> Any:
    """Where templates are found: what they are given is escaped, and what they are not given is an error."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@functools.cache
def asset(name: str) -> str:
    """A file of `assets`, as text."""
    return (_HERE / "assets" / name).read_text(encoding="utf-8")


def declared(sheet: str, selector: str) -> str:
    """What a rule of a style sheet declares."""
    found = re.search(rf"^{selector} \{{(.*?)\}}", sheet, re.DOTALL | re.MULTILINE)
    assert found is not None, selector
    return " ".join(found[1].split())


def _style() -> str:
    """The style sheet of a report: its dark colours, written once, are for the button and for a system that is dark."""
    sheet = asset("report.css")
    dark = declared(sheet, r':root\[data-theme="dark"\]')
    return f'{sheet}@media (prefers-color-scheme: dark) {{ :root:not([data-theme="light"]) {{ {dark} }} }}\n'


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def for_script(value: Any) -> str:
    r"""A value as JSON that may stand in a script element: no text in it can end the element.

    Example:
        >>> for_script(["</script>", "<!--"])
        '["\\u003c/script\\u003e","\\u003c!--"]'
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def render(page: Page) -> str:
    """The page as text."""
    style = _style()
    parts = [asset(name) for name in _SCRIPTS]
    script = '"use strict";\n(() => {\n' + "\n".join(parts) + "\n})();\n"
    data = [
        None if section.data is None else section.data | {"name": section.name, "blob": f"numbers-{i}"}
        for i, section in enumerate(page.sections)
    ]
    text: str = (
        environment()
        .get_template("report.html")
        .render(
            page=page,
            style=style,
            style_hash=_hash(style),
            script=script,
            script_hash=_hash(script),
            data=for_script({"runs": data, "colours": {"sequential": SEQUENTIAL, "diverging": DIVERGING}}),
        )
    )
    return text
