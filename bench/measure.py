"""On what machine something was measured, and where its results are kept."""

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console

import fastact
from bench import RESULTS
from fastact.benchmark.turns import load_warning
from fastact.cpu.threads import get_num_threads

__all__ = ["machine", "save", "warn"]

#: What is installed beside fastact, as the registry calls it.
PACKAGES = ("numba", "numpy", "pyarrow", "torch", "numbagg", "bottleneck", "numkong", "tensorboard")


def machine() -> dict[str, Any]:
    """Where and with what it was measured."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    versions = {"fastact": fastact.__version__}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "cpu": name,
        "cores": os.cpu_count(),
        "threads": get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions,
    }


def warn(console: Console) -> float:
    """The machine's load, of which a high one is said."""
    load, warning = load_warning()
    if warning is not None:
        console.print(f"[yellow]{warning}")
    return load


def save(name: str, results: dict[str, Any], console: Console) -> None:
    """Writes one benchmark's results for `scripts.readme` to render."""
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    stamped = {"date": datetime.now(UTC).date().isoformat(), "machine": machine(), **results}
    path.write_text(json.dumps(stamped, indent=2) + "\n")
    console.print(f"written to {path.name}; render by: python -m scripts.readme")
