"""Machine code that comes with the package: compiled from these sources when the wheel was built (`cpu.prebuild`).

It is used when it was made from the very sources that are here, for no more than this CPU has, and for a Numba whose
runtime it can call. Else, and for element types that it leaves out, the first use compiles (`cpu.cache`).
FASTACT_PREBUILT=off leaves it alone, and the name of a level, such as v3, chooses that one.
"""

import functools
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

import llvmlite.binding
import numba
from numba.core import config

from fastact.cpu.cache import SETTINGS, sources_digest
from fastact.cpu.objects import FORMAT, Entry

FOLDER: Final = Path(__file__).parent / "prebuilt"
MANIFEST: Final = "manifest.json"
#: The Numba from which on its runtime has had the functions that the code calls, as it calls them.
_NUMBA_FROM: Final = (0, 61)
#: Settings of Numba under which its code is what it is by default.
_DEFAULTS: Final = {"OPT": 3, "LOOP_VECTORIZE": 1, "SLP_VECTORIZE": 0, "BOUNDSCHECK": None, "DEBUGINFO_DEFAULT": 0}
_V3: Final = frozenset({"avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe"})


class Level(NamedTuple):
    """What code is compiled for: LLVM's name of the CPU, features that it needs, and how they are tuned."""

    cpu: str
    features: frozenset[str]
    tuning: tuple[str, ...] = ()
    #: A feature beyond these, and the element type that is there a second time for CPUs that have it.
    variants: tuple[tuple[str, str], ...] = ()

    def settings(self, *more: str) -> dict[str, str]:
        """Numba's environment variables that make it compile for this, and for more features."""
        features = ",".join([*(f"+{feature}" for feature in sorted({*self.features, *more})), *self.tuning])
        return {"NUMBA_CPU_NAME": self.cpu, "NUMBA_CPU_FEATURES": features}


#: By their names in the folder, the best first.
LEVELS: Final = {
    "x86_64": {
        "v4": Level(
            "x86-64-v4",
            _V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
            ("-prefer-256-bit",),
            (("avx512bf16", "bfloat16"),),
        ),
        "v3": Level("x86-64-v3", _V3),
    },
    "arm64": {"v8": Level("generic", frozenset({"neon"}))},
}


def machine() -> str:
    """The name of this machine's instruction set in `LEVELS`."""
    name = platform.machine().lower()
    return {"amd64": "x86_64", "aarch64": "arm64"}.get(name, name)


def host_features() -> frozenset[str]:
    """The features of this CPU, or those that Numba was told to compile for."""
    if config.CPU_FEATURES is not None:
        return frozenset(part[1:] for part in str(config.CPU_FEATURES).split(",") if part.startswith("+"))
    return frozenset(name for name, here in llvmlite.binding.get_host_cpu_features().items() if here)


def folder_of(level: str) -> str:
    """The name of the folder for a level of `LEVELS` on this system."""
    return f"{sys.platform}-{machine()}-{level}"


def describe() -> dict[str, Any]:
    """What code that is built now depends on."""
    return {"format": FORMAT, "sources": sources_digest(), "numba": numba.__version__}


@functools.cache
def prebuilt_folder() -> tuple[Path | None, str]:
    """The folder that fits this machine, or None and why there is none."""
    asked = os.environ.get("FASTACT_PREBUILT", "").lower()
    if asked == "off":
        return None, "FASTACT_PREBUILT=off"
    if asked not in ("", *(known := LEVELS.get(machine(), {}))):
        return None, f"FASTACT_PREBUILT: got {asked!r}, want {' or '.join(('off', *known))}"
    if config.CPU_NAME is not None or config.CPU_FEATURES is not None:
        return None, "Numba is told what CPU to compile for"
    if any(getattr(config, name, default) != default for name, default in _DEFAULTS.items()):
        return None, f"one of Numba's settings that change the code is not its default: {', '.join(SETTINGS)}"
    levels = [
        name
        for name, level in LEVELS.get(machine(), {}).items()
        if level.features <= host_features() and asked in ("", name)
    ]
    found = [FOLDER / folder_of(name) for name in levels if (FOLDER / folder_of(name) / MANIFEST).is_file()]
    if not found:
        return None, "none came with the package" if levels else "none is made for such a CPU"
    try:
        manifest = json.loads((found[0] / MANIFEST).read_text("utf-8"))
        built_by = _minor(str(manifest["numba"]))
        if manifest["format"] != FORMAT or manifest["sources"] != sources_digest():
            return None, "it was built from other sources"
        if not _NUMBA_FROM <= _minor(numba.__version__) <= built_by:
            return None, f"it is for Numba {'.'.join(map(str, _NUMBA_FROM))} to {manifest['numba']}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return None, f"its manifest cannot be read: {error}"
    return found[0], ""


def _minor(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


def file_of(name: str, feature: str = "") -> str:
    """The name of the file with an entry point's code, or with its variant for CPUs that have a feature."""
    return f"{name}+{feature}.bin" if feature else f"{name}.bin"


def prebuilt_entry(name: str) -> Entry | None:
    """The entry point of this name, or None."""
    folder, _ = prebuilt_folder()
    if folder is None:
        return None
    level = next(level for key, level in LEVELS[machine()].items() if folder.name == folder_of(key))
    better = [feature for feature, _ in level.variants if feature in host_features()]
    for file in (*(file_of(name, feature) for feature in better), file_of(name)):
        if (path := folder / file).is_file():
            return Entry.unpack(path.read_bytes(), name)
    return None
