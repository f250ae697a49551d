"""Nothing that was public is gone or differs; what is new is welcome."""

import os
from pathlib import Path
from typing import Any

import pytest

from .store import differences, known, load

FRAMEWORKS = ("torch", "jax", "keras", "lightning", "transformers", "flax", "typer")


def test_public_names_are_what_they_were(tmp_path: Path) -> None:
    for package in ("keras", "flax", "lightning", "transformers", "sklearn"):
        pytest.importorskip(package)
    os.environ.setdefault("KERAS_BACKEND", "jax")
    from .names import names

    stored = load("names")
    lines = differences(_sets(stored["names"]), _sets(names(tmp_path)), exact=True)
    wrong = [line for line in lines if not line.endswith(": is new")]
    versions = {package: known(package) for package in FRAMEWORKS}
    assert not wrong, "\n".join([*wrong[:40], f"stored with {stored['versions']}, run with {versions}"])


def _sets(value: Any) -> Any:
    """Lists of names as sets of them: more may come in between."""
    if isinstance(value, dict):
        return {name: _sets(item) for name, item in value.items()}
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return dict.fromkeys(value, True)
    return value
