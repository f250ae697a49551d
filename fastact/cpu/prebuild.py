"""Builds the machine code that comes with the package: ``python -m fastact.cpu.prebuild``, or the wheel's build hook.

For each level of this machine's instruction set (`prebuilt.LEVELS`, such as x86-64-v3 and v4) other processes compile
the entry points of some element types, as `fastact warmup` does, into a folder beside this file. Built in a source
checkout, the set is used there as in an installed package, until a source of a kernel is edited.
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

from fastact.cpu.objects import Entry
from fastact.cpu.prebuilt import FOLDER, LEVELS, MANIFEST, describe, folder_of, machine
from fastact.cpu.warmup import DEFAULT, warmup


def _compile(names: Sequence[str], settings: dict[str, str], folder: str) -> None:
    """Has another process, which imports Numba under these settings, fill a cache in `folder`."""
    environment = {**os.environ, **settings, "FASTACT_CACHE_DIR": folder, "FASTACT_PREBUILT": "off"}
    command = [sys.executable, "-m", "fastact.cpu.prebuild", "--compile", *names]
    subprocess.run(command, env=environment, check=True)  # noqa: S603 - this interpreter, this module


def _ship(compiled: Path, target: Path) -> int:
    """Copies entry points under their names; what a cache says of the machine that made them is left out."""
    entries = 0
    for path in compiled.rglob("*.bin"):
        entry, key = Entry.any(path.read_bytes())
        name = key.split(" ", 1)[0]
        (target / f"{name}.bin").write_bytes(entry.pack(name))
        entries += 1
    return entries


def build(names: Sequence[str] = DEFAULT, folder: Path = FOLDER, processes: int | None = None) -> list[str]:
    """Builds the set for each level of this machine; returns a line about each, empty where none is known.

    Args:
        names: element types, such as ``"float32"``.
        folder: where the levels' folders go; those that are there are replaced.
        processes: that compile at once; by default one for each CPU.
    """
    done = []
    levels = LEVELS.get(machine(), {})
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(processes or os.cpu_count()) as pool:
        # In halves, so that few levels keep all CPUs at work.
        work = [(level, names[i::2], str(Path(scratch) / f"{level}-{i}")) for level in levels for i in range(2)]
        list(pool.map(lambda one: _compile(one[1], levels[one[0]].settings(), one[2]), work))
        for level in levels:
            target = folder / folder_of(level)
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir(parents=True)
            places = [Path(place) for name, _, place in work if name == level]
            for place in places:
                _ship(place, target)
            manifest = {**describe(), "cpu": levels[level].cpu, "types": list(names)}
            (target / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
            size = sum(path.stat().st_size for path in target.iterdir())
            done.append(f"{target.name}: {len(list(target.glob('*.bin')))} entry points, {size / 1e6:.1f} MB")
    return done


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m fastact.cpu.prebuild", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"element types; by default {' '.join(DEFAULT)}")
    parser.add_argument("--compile", action="store_true", help="only fill the cache, under Numba's settings")
    options = parser.parse_args(arguments)
    if options.compile:
        logging.getLogger("fastact").setLevel(logging.ERROR)
        for name in options.names:
            warmup(name)
        return
    for line in build(options.names or DEFAULT) or ["nothing is known of this CPU"]:
        sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
