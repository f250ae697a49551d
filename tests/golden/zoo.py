"""Compares what two checkouts say of the whole zoo, run by run: condition, layer, severity and first step.

    python -m tests.golden.zoo judge runs/zoo --out before.json    # in one checkout
    python -m tests.golden.zoo judge runs/zoo --out after.json     # in the other one, of the same logs
    python -m tests.golden.zoo compare before.json after.json      # exit code 1 where they differ
    python -m tests.golden.zoo compare bench/results/zoo.json ../other/bench/results/zoo.json

`python -m bench.zoo` trains the runs and keeps their logs; what it stores in bench/results compares as well.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import fastact

from .logs import PRESETS, findings, timeline
from .store import differences

__all__ = ["judged", "main", "verdicts"]


def judged(folder: Path) -> dict[str, Any]:
    """What is said of each log below a folder: at its end, after each step, and by others' rules."""
    found: dict[str, Any] = {}
    for segment in sorted(folder.rglob("segment-*.arrows")):
        path = segment.parent
        name = str(path.relative_to(folder))
        if name in found:
            continue
        log = fastact.open_log(path)
        presets = {
            preset: [[f.layer, f.condition, f.severity, f.first_step] for f in log.diagnose(preset=preset).findings]
            for preset in PRESETS
        }
        found[name] = {"findings": findings(log.diagnose()), "timeline": timeline(log), "presets": presets}
    return found


def verdicts(path: Path) -> dict[str, Any]:
    """What `judged` said, or each run's verdict of the results that `bench.zoo` stores."""
    said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if "parts" not in said:
        return said
    found: dict[str, Any] = {}
    for part, results in said["parts"].items():
        found[f"{part}: scores"] = results["scores"]
        found[f"{part}: left out"] = results["left_out"]
        for run in results["runs"]:
            found[f"{part}: {run['name']}"] = run
    return found


def main() -> int:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.golden.zoo", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    judge = commands.add_parser("judge", help="judges all logs below a folder")
    judge.add_argument("folder", type=Path)
    judge.add_argument("--out", type=Path, required=True)
    compare = commands.add_parser("compare", help="compares two files")
    compare.add_argument("files", type=Path, nargs=2)
    arguments = parser.parse_args()
    if arguments.command == "judge":
        said = judged(arguments.folder)
        arguments.out.write_text(json.dumps(said, indent=1), encoding="utf-8")
        print(f"{len(said):,} runs, {sum(len(one['findings']) for one in said.values()):,} findings")
        return 0
    before, after = (verdicts(path) for path in arguments.files)
    wrong = differences(before, after, exact=True)
    for line in wrong:
        print(line)
    print(f"{len(wrong)} differences in {len(before):,} entries")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
