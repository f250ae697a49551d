"""Puts machine code into the wheel, compiled from the sources that go into it: a first sweep then compiles nothing.

It takes a minute or two for x86-64 (levels v3 and v4) or arm64 and makes the wheel one for this system.
FASTACT_PURE_WHEEL=1 leaves it out: the wheel is for every system then, and the first use of a sweep compiles it.
"""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PrebuiltHook(BuildHookInterface):  # type: ignore[type-arg]
    """hatchling calls `initialize` before it builds a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compiles into ``fastact/cpu/prebuilt``; not for an editable install, which compiles when it is used."""
        if version == "editable" or os.environ.get("FASTACT_PURE_WHEEL", "0") not in ("", "0"):
            return
        environment = {**os.environ, "PYTHONPATH": self.root}
        done = subprocess.run(
            [sys.executable, "-m", "fastact.cpu.prebuild"], cwd=self.root, env=environment, check=False
        )
        folders = sorted((Path(self.root) / "fastact" / "cpu" / "prebuilt").glob(f"{sys.platform}-*"))
        if done.returncode != 0 or not folders:
            self.app.display_warning("no machine code was built: the wheel compiles it when it is first used")
            return
        build_data["force_include"].update({str(folder): f"fastact/cpu/prebuilt/{folder.name}" for folder in folders})
        # Object files call the C library's mathematics and Python's stable functions alone, whatever their versions.
        system = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{system.replace('linux_', 'manylinux_2_17_')}"
        build_data["pure_python"] = False
