"""Makes what is stored anew, from the code as it is: python -m tests.golden.make [states] [logs] [names] [ptx].

Recorded logs are read, not made: `python -m tests.golden.record` does that, once for a schema.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .store import known, machine, save

__all__ = ["MAKERS", "main"]


def _states() -> dict[str, Any]:
    from .states import states

    return {"machine": machine(), **dict(states())}


def _logs() -> dict[str, Any]:
    from .logs import live, logs, unpack

    with tempfile.TemporaryDirectory() as folder:
        recorded, written = Path(folder) / "recorded", Path(folder) / "written"
        unpack(recorded)
        return {"machine": machine(), "logs": dict(logs(recorded)), "live": dict(live(written))}


def _names() -> dict[str, Any]:
    from .names import names
    from .test_names import FRAMEWORKS

    os.environ.setdefault("KERAS_BACKEND", "jax")
    with tempfile.TemporaryDirectory() as folder:
        return {"versions": {package: known(package) for package in FRAMEWORKS}, "names": names(Path(folder))}


def _ptx() -> dict[str, Any]:
    from .inner import ptx_histograms
    from .ptx import compiler

    return {"compiler": compiler(), "kernels": ptx_histograms()}


MAKERS: dict[str, Callable[[], dict[str, Any]]] = {"states": _states, "logs": _logs, "names": _names, "ptx": _ptx}


def main() -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.golden.make", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*MAKERS, []], metavar="PART", help=f"of {', '.join(MAKERS)}")
    for part in parser.parse_args().parts or MAKERS:
        values = MAKERS[part]()
        print(f"{part}: {len(values):,} entries in {save(part, values):,} bytes, fastact {known('fastact')}")


if __name__ == "__main__":
    main()
