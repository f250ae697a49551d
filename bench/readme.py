"""Puts what was measured and printed into the README, between markers, so that nothing there is typed by hand.

python -m bench.readme             # writes the generated parts
python -m bench.readme --check     # exit code 1 when they are not what the recorded results say
python -m bench.readme --capture   # first runs `fastact demo` and records what it prints
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.sweep_table import HEADER, cells

README = Path(__file__).parent.parent / "README.md"
SWEEP = Path(__file__).parent / "results" / "sweep.json"
DEMO = Path(__file__).parent / "results" / "demo.txt"
#: The network of the demo whose part the README shows; all of it would be too long.
SHOWN = "saturated"


def sweep_table() -> str:
    """The benchmark's table in Markdown, and under it what was compared, where and when."""
    results = json.loads(SWEEP.read_text())
    where = results["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in where["versions"].items())
    note = (
        f"Time of a call, median of {results['rounds']} rounds by turns, warm. {where['cpu']}, {where['threads']} "
        f"threads, Python {where['python']}, {versions}; {results['date']}. "
        f"numpy: `{results['calls']['numpy']}`. torch: `{results['calls']['torch']}`. "
        "x numpy, x torch: how many times longer they take. of read: the time of reading these bytes and doing nothing "
        "else, as fast as the machine can, over the time of `summarize`, both measured side by side; a small buffer "
        "is read from a cache, and there the cost of a call outweighs the reading."
    )
    lines = [
        "| " + " | ".join(HEADER) + " |",
        "|" + "|".join(" :-- " if name == "dtype" else " --: " for name in HEADER) + "|",
        *("| " + " | ".join(cells(row)) + " |" for row in results["rows"]),
        "",
        note,
    ]
    return "\n".join(lines)


def demo_text() -> str:
    """From what `fastact demo` printed when it was recorded: one of its networks."""
    shown: list[str] = []
    inside = False
    for line in DEMO.read_text().splitlines():
        heading = re.fullmatch(r"[─-]+ (.+?) [─-]+", line.strip())
        inside = heading[1] == SHOWN if heading else inside and line.strip() != "Summary"
        if inside:
            shown.append(line)
    if not shown:
        raise SystemExit(f"{DEMO}: want a section headed {SHOWN!r}; run: python -m bench.readme --capture")
    return "```text\n" + "\n".join(shown).rstrip() + "\n```"


PARTS = {"sweep": (SWEEP, sweep_table), "demo": (DEMO, demo_text)}


def rendered(text: str) -> str:
    """The README with each generated part as its recorded results have it; without results a part stays empty."""
    for name, (source, render) in PARTS.items():
        begin, end = f"<!-- {name}: made by python -m bench.readme -->", f"<!-- {name}: end -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise SystemExit(f"README.md: want the markers {begin!r} and {end!r} once each")
        body = f"\n{render()}\n" if source.exists() else "\n"
        pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
        text = pattern.sub(lambda _, part=begin + body + end: part, text)  # type: ignore[misc]
    return text


def capture() -> None:
    """Runs the demo for real, 100 columns wide and without colours, and records what it prints."""
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    command = Path(sys.executable).with_name("fastact")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([command, "demo"], cwd=folder, env=environment, stdout=subprocess.PIPE, check=True)
    DEMO.parent.mkdir(exist_ok=True)
    DEMO.write_text("\n".join(line.rstrip() for line in done.stdout.decode().splitlines()) + "\n")


def main() -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.readme", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing, fail when the README is out of date")
    parser.add_argument("--capture", action="store_true", help="run the demo first and record its output")
    arguments = parser.parse_args()
    if arguments.capture:
        capture()
    text = README.read_text()
    wanted = rendered(text)
    if arguments.check:
        if text != wanted:
            raise SystemExit("README.md is not what bench/results says; run: python -m bench.readme")
        print("README.md: the generated parts agree with bench/results")
    else:
        README.write_text(wanted)


if __name__ == "__main__":
    main()
