"""Nothing that was public is gone or differs; what is new is welcome."""

import os
import re
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
    before, now = _sets(stored["names"]), _sets(names(tmp_path))
    # Hooks' own way into the monitor, which no document names.
    del before["fastact"]["members"]["ActivationMonitor"]["members"]["keep"]
    # What `Log.parts` yields has another name, and the same fields.
    log = before["fastact"]["members"]["Log"]["members"]
    log["parts"] = log["parts"].replace("Part]", "StoredBatch]")
    lines = differences(before, _kept(before, now), exact=True)
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


def _kept(before: Any, now: Any) -> Any:
    """What there is now, with the older text wherever every use that was right before is right still."""
    if isinstance(before, dict) and isinstance(now, dict):
        return {name: _kept(before.get(name), item) for name, item in now.items()}
    if (before, now) == ("attribute", "property"):
        return before
    if isinstance(before, str) and isinstance(now, str) and before.startswith("(") and _accepts(before, now):
        return before
    return now


def _accepts(before: str, now: str) -> bool:
    """Whether a call that fits the one signature fits the other: by place, and by each name.

    A parameter keeps its default, or has become an alias, which is None where it is not given.
    """
    (places, names, result), (new_places, new_names, new_result) = _parameters(before), _parameters(now)
    same = all(new_names.get(name, "gone") in (default, default and " = None") for name, default in names.items())
    return places <= new_places and same and result == new_result


def _parameters(signature: str) -> tuple[int, dict[str, str], str]:
    """How many parameters are given by place, all by name with " = " and the default, and what is returned."""
    inside, _, result = signature[1:].rpartition(") -> ")
    parts = re.split(r", (?![^\[(]*[\])])", inside)
    names = {re.split("[:=]", part)[0].strip(): "".join(part.partition(" = ")[1:]) for part in parts}
    return parts.index("*") if "*" in parts else len(parts), names, result


def test_a_parameter_that_is_gone_is_seen() -> None:
    old = "(self, x: Any, kind: str = , *, tol: float = 0.0) -> None"
    assert _accepts(old, "(self, x: Any, type: str = , *, tol: float = 0.0, kind: str | None = None) -> None")
    assert not _accepts(old, "(self, x: Any, type: str = , *, tol: float = 0.0) -> None")
    assert not _accepts(old, "(self, x: Any, *, kind: str = , tol: float = 0.0) -> None")
    assert not _accepts(old, "(self, x: Any, kind: str, *, tol: float = 0.0) -> None")
    assert not _accepts(old, old.replace("None", "int"))
    assert not _accepts(old, old.replace("0.0", "0.1"))
