"""Runs from the command line: python -m bench.gpu [NAME...] [--quick].

Kernels, a framework's own operations, torch.compile and CuPy are timed side by side; all results, with the check of
each kernel and the versions, are written to one file, fastact-gpu.json in the current folder, to be sent in.
"""

import json
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.gpu import deferred, sweep, train
from bench.gpu.clock import missing
from bench.run import command

ONE_FILE = Path("fastact-gpu.json")


def proofs() -> list[dict[str, Any]]:
    """What `fastact info --gpu` prints, of the types that networks compute in."""
    from fastact.cuda.info import CHECKED
    from fastact.cuda.proof import prove_all

    return [
        {"kernel": str(one), "problem": one.problem, "seconds": round(one.seconds, 4)} for one in prove_all(0, CHECKED)
    ]


def versions() -> dict[str, str]:
    """What is installed of what the results depend on."""
    found = {}
    for name in ("fastact", "numba", "numba-cuda", "torch", "cupy-cuda12x", "cupy-cuda13x", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def main() -> None:
    """The command."""
    problem = missing()
    if problem is not None and not {"-h", "--help"} & set(sys.argv):
        print(f"python -m bench.gpu: nothing measured: {problem}", file=sys.stderr)
        raise SystemExit(2)
    measured = [sweep.WHOLE, sweep.NEURONS, train.RECORD, train.TRAIN, deferred.DEFERRED]
    results = command(measured, "python -m bench.gpu")
    ONE_FILE.write_text(json.dumps({"versions": versions(), "check": proofs(), **results}, indent=1) + "\n", "utf-8")
    print(f"written to {ONE_FILE}")


if __name__ == "__main__":
    main()
