"""Builds the machine code that comes with the package: ``python -m fastact.cpu.prebuild``, or the wheel's build hook.

For each level of this machine's instruction set (`prebuilt.LEVELS`, such as x86-64-v3 and v4) other processes compile
the entry points of some element types, as `fastact warmup` does, into a folder beside this file. Built in a source
checkout, the set is used there as in an installed package, until a source of a kernel is edited; ``--here`` builds what
this machine's CPU uses alone.
"""

import argparse
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from fastact.cpu.objects import Entry
from fastact.cpu.prebuilt import FOLDER, LEVELS, MANIFEST, describe, file_of, folder_of, host_features, machine
from fastact.cpu.warmup import DEFAULT, warmup


def _compile(names: Sequence[str], settings: dict[str, str], folder: str) -> None:
    """Has another process, which imports Numba under these settings, fill a cache in `folder`."""
    environment = {**os.environ, **settings, "FASTACT_CACHE_DIR": folder, "FASTACT_PREBUILT": "off"}
    command = [sys.executable, "-m", "fastact.cpu.prebuild", "--compile", *names]
    subprocess.run(command, env=environment, check=True)  # noqa: S603 - this interpreter, this module


def _ship(compiled: Path, target: Path, feature: str = "", names: Sequence[str] = ()) -> int:
    """Copies entry points under their names; what a cache says of the machine that made them is left out.

    Of what was compiled for a `feature` those of the element types `names` alone: others are there already.
    """
    entries = 0
    for path in compiled.rglob("*.bin"):
        entry, key = Entry.any(path.read_bytes())
        name = key.split(" ", 1)[0]
        if not feature or name.endswith(tuple(f"-{kind}" for kind in names)):
            (target / file_of(name, feature)).write_bytes(entry.pack(name))
            entries += 1
    return entries


class _Work(NamedTuple):
    """What one process compiles, and where."""

    level: str
    feature: str
    names: list[str]
    place: str


def _works(names: Sequence[str], scratch: Path, here: bool) -> list[_Work]:
    levels = LEVELS.get(machine(), {})
    has = host_features()
    if here:
        levels = dict([(key, level) for key, level in levels.items() if level.features <= has][:1])
    work = []
    for key, level in levels.items():
        # In halves, so that few levels keep all CPUs at work.
        halves = [list(half) for half in (names[::2], names[1::2]) if half]
        work += [_Work(key, "", half, str(scratch / f"{key}-{i}")) for i, half in enumerate(halves)]
        variants = [
            (feature, name) for feature, name in level.variants if name in names and (not here or feature in has)
        ]
        work += [_Work(key, feature, [name], str(scratch / f"{key}-{feature}")) for feature, name in variants]
    return work


def build(
    names: Sequence[str] = DEFAULT, folder: Path = FOLDER, processes: int | None = None, *, here: bool = False
) -> list[str]:
    """Builds the set for each level of this machine; returns a line about each, empty where none is known.

    Args:
        names: element types, such as ``"float32"``.
        folder: where the levels' folders go; those that are there are replaced.
        processes: that compile at once; by default one for each CPU.
        here: only the level that this machine's CPU uses.
    """
    done = []
    levels = LEVELS.get(machine(), {})
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(processes or os.cpu_count()) as pool:
        works = _works(names, Path(scratch), here)
        settings = [levels[work.level].settings(*filter(None, [work.feature])) for work in works]
        list(pool.map(lambda work, given: _compile(work.names, given, work.place), works, settings))
        for level in dict.fromkeys(work.level for work in works):
            target = folder / folder_of(level)
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir(parents=True)
            for work in works:
                if work.level == level:
                    _ship(Path(work.place), target, work.feature, work.names)
            manifest = {**describe(), "cpu": levels[level].cpu, "types": list(names)}
            (target / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
            size = sum(path.stat().st_size for path in target.iterdir())
            done.append(f"{target.name}: {len(list(target.glob('*.bin')))} entry points, {size / 1e6:.1f} MB")
    return done


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m fastact.cpu.prebuild", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"element types; by default {' '.join(DEFAULT)}")
    parser.add_argument("--here", action="store_true", help="only for this machine's CPU")
    parser.add_argument("--compile", action="store_true", help="only fill the cache, under Numba's settings")
    options = parser.parse_args(arguments)
    if options.compile:
        logging.getLogger("fastact").setLevel(logging.ERROR)
        for name in options.names:
            warmup(name)
        return
    for line in build(options.names or DEFAULT, here=options.here) or ["nothing is known of this CPU"]:
        sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
