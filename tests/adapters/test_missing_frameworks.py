"""An adapter without its framework says what to install."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastact

SOURCES = "".join(path.read_text(encoding="utf-8") for path in sorted(Path(fastact.__path__[0]).rglob("*.py")))
#: Each adapter with the packages without which it cannot be imported, as its own source names them.
ADAPTERS = [
    (module, re.findall(r'"(\w+)"', packages))
    for module, packages in re.findall(
        r'^with needs_extra\("fastact\.(\w+)", "[^"]+", ([^)]+)\)', SOURCES, re.MULTILINE
    )
]


def test_the_adapters_are_found() -> None:
    assert {"torch", "lightning", "huggingface", "keras", "jax", "flax"} <= {module for module, _ in ADAPTERS}


@pytest.mark.parametrize(("module", "packages"), ADAPTERS, ids=[module for module, _ in ADAPTERS])
def test_a_missing_framework_names_the_extra(module: str, packages: list[str]) -> None:
    # `lightning` has an older name, which is tried next.
    blocked = {module, *packages}
    code = f"import sys\nfor name in {blocked}: sys.modules[name] = None\nimport fastact.{module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingExtraError" in done.stderr, done.stderr
    assert f"pip install 'fastact[{module}]'" in done.stderr
