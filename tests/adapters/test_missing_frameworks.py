"""An adapter without its framework says what to install."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "package"),
    [("lightning", "lightning"), ("huggingface", "transformers"), ("keras", "keras"), ("jax", "jax"), ("flax", "flax")],
)
def test_a_missing_framework_names_the_extra(module: str, package: str) -> None:
    blocked = ("lightning", "pytorch_lightning") if module == "lightning" else (package,)
    code = f"import sys\nfor name in {blocked}: sys.modules[name] = None\nimport fastact.{module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingExtraError" in done.stderr, done.stderr
    assert f"pip install 'fastact[{module}]'" in done.stderr
