"""Renders what the pages in fastact/pages take from elsewhere, so that nothing is copied by hand.

A part begins with a comment that says what it is, and ends with ``<!-- end -->``:

- ``thresholds``: the defaults and meanings of the fields of `fastact.Thresholds` that are named there;
- ``example``: the file of that name in scripts/examples;
- ``report``: what the page's own code was diagnosed with, when it was last run by ``--capture``;
- ``output``: what the page's last block of code before it printed then.

python -m scripts.pages                        # writes thresholds and examples
python -m scripts.pages --check                # exit code 1 when they are not what the code says
python -m scripts.pages --capture [NAME ...]   # first runs the code of the conditions' pages, of all or of some
"""

import argparse
import contextlib
import dataclasses
import io
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from fastact import Diagnosis, Thresholds
from fastact.diagnosis.show.render import render_rich

__all__ = ["EXAMPLES", "PAGES", "blocks", "named", "outputs", "printed", "rendered", "report", "run"]

ROOT: Final = Path(__file__).parent.parent
PAGES: Final = ROOT / "fastact" / "pages"
EXAMPLES: Final = ROOT / "scripts" / "examples"
#: Columns of a report: its widest table.
WIDTH: Final = 88

_PART: Final = re.compile(
    r"(?P<begin><!-- (?P<what>thresholds|example|report|output)"
    r" by python -m scripts\.pages(?:: (?P<names>[\w. ]+))? -->\n)"
    r"(?P<body>.*?)(?P<end><!-- end -->)",
    re.DOTALL,
)


def named(text: str, what: str) -> list[str]:
    """What the parts of one sort name, in the page's order: thresholds, or an example's file."""
    return [name for part in _PART.finditer(text) if part["what"] == what for name in (part["names"] or "").split()]


def blocks(text: str) -> list[str]:
    """The Python blocks of a page, in its order."""
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def run(text: str, name: str) -> Diagnosis:
    """Runs the code of a page, all of it, and returns the diagnosis that it leaves, or that of its `monitor`."""
    code = "\n".join(blocks(text))
    left: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(code, name, "exec"), left)  # noqa: S102 - the page's own code
    diagnosis: Diagnosis = left["diagnosis"] if "diagnosis" in left else left["monitor"].diagnose()
    return diagnosis


def printed(text: str, name: str) -> list[str]:
    """Runs the blocks of a page one after the other, in a folder of its own; returns what each printed."""
    left: dict[str, Any] = {}
    found = []
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for number, code in enumerate(blocks(text)):
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(code, f"{name}, block {number}", "exec"), left)  # noqa: S102 - the page's own code
            found.append("\n".join(line.rstrip() for line in out.getvalue().splitlines()))
    return found


def outputs(text: str) -> list[str]:
    """What a page says that its blocks print, in the page's order."""
    return [part["body"].removeprefix("```text\n").removesuffix("```\n") for part in _PART.finditer(text)
            if part["what"] == "output"]  # fmt: skip


def report(diagnosis: Diagnosis) -> str:
    """A diagnosis as the command line shows it, without colours."""
    stream = io.StringIO()
    Console(file=stream, width=WIDTH, color_system=None).print(render_rich(diagnosis))
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())


def rendered(text: str, diagnosis: Diagnosis | None = None, prints: Sequence[str] | None = None) -> str:
    """A page with its parts as the code has them; report and output stay as they are unless there are new ones."""

    def part(found: re.Match[str]) -> str:
        names = (found["names"] or "").split()
        if found["what"] == "thresholds":
            body = _thresholds(names)
        elif found["what"] == "example":
            body = f"```python\n{(EXAMPLES / names[0]).read_text(encoding='utf-8')}```\n"
        elif found["what"] == "output":
            before = len(blocks(text[: found.start()])) - 1
            body = found["body"] if prints is None else f"```text\n{prints[before]}\n```\n"
        else:
            body = found["body"] if diagnosis is None else f"```text\n{report(diagnosis)}\n```\n"
        return found["begin"] + body + found["end"]

    return _PART.sub(part, text)


def _thresholds(names: list[str]) -> str:
    fields = {field.name: field for field in dataclasses.fields(Thresholds)}
    lines = ["| threshold | default | unit and meaning |", "| :-- | --: | :-- |"]
    for name in names:
        field = fields[name]
        lines.append(f"| `{name}` | {field.default:g} | {field.metadata['doc'].replace('|', '&#124;')} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.pages", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing, fail when a page is out of date")
    parser.add_argument("--capture", nargs="*", metavar="NAME", help="run these conditions' code first; by default all")
    arguments = parser.parse_args()
    stale = []
    for path in sorted(PAGES.rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        asked = arguments.capture is not None and (not arguments.capture or path.stem in arguments.capture)
        found = run(text, path.name) if asked and "<!-- report" in text else None
        prints = printed(text, path.name) if asked and "<!-- output" in text else None
        wanted = rendered(text, found, prints)
        if text != wanted:
            stale.append(path)
            if not arguments.check:
                path.write_text(wanted, encoding="utf-8")
    names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
    if arguments.check and stale:
        raise SystemExit(f"not what the code says: {names}; run: python -m scripts.pages")
    print(f"written: {names}" if stale else "the pages agree with the code")


if __name__ == "__main__":
    main()
