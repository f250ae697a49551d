"""Public names: modules, classes with their members, signatures; the command line; what is put out as JSON."""

import contextlib
import enum
import importlib
import inspect
import io
import json
import re
import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np

import fastact

from .arrays import sample
from .inner import NEURON_NAMES, ROW_NAMES, app, nothing_of_neurons, report_schema
from .logs import unpack
from .store import plain

__all__ = ["names"]

_MODULES: Final = (
    "fastact", "fastact.torch", "fastact.jax", "fastact.keras", "fastact.lightning", "fastact.huggingface",
    "fastact.flax", "fastact.sklearn", "fastact.sinks",
)  # fmt: skip
#: Dunder methods that are part of what a class promises.
_PROTOCOL: Final = (
    "__or__", "__ror__", "__len__", "__eq__", "__hash__", "__iter__", "__getitem__", "__contains__", "__enter__",
    "__exit__", "__call__", "__bool__", "__str__", "__repr__",
)  # fmt: skip
#: Of which the names of own modules, and of those of libraries, are cut off: they move.
_HOMES: Final = re.compile(r"\b(?:[A-Za-z_]\w*\.)+(?=[A-Za-z_]\w*)")


def names(folder: Path) -> dict[str, Any]:
    """All of it; `folder` is where logs may be unpacked."""
    unpack(folder)
    found: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what frameworks say as they are loaded
        for module in _MODULES:
            found[module] = _module(importlib.import_module(module))
    found["classes that are returned"] = _returned(folder)
    found["rows"] = {"row": list(ROW_NAMES), "neurons": list(NEURON_NAMES), "nothing": plain(nothing_of_neurons())}
    found["command line"] = _commands()
    found["schema"] = _without_prose(report_schema())
    found["json"] = _outputs(folder)
    found["dicts"] = _dicts(folder)
    return found


def _module(module: Any) -> dict[str, Any]:
    public = [name for name in dir(module) if not name.startswith("_")]
    own = sorted(set(getattr(module, "__all__", ())))
    # Beside what a module says is public, only what a package shows of its own is looked at.
    members = {name: _thing(getattr(module, name)) for name in own}
    visible = [name for name in public if name in own or module.__name__ == "fastact"]
    return {"all": own, "dir": [name for name in visible if not _is_accident(module, name)], "members": members}


def _is_accident(module: Any, name: str) -> bool:
    """A module that is there because something has imported it, or a helper of the module's own."""
    value = getattr(module, name)
    return (inspect.ismodule(value) and name != "torch") or name in ("TYPE_CHECKING", "Any", "importlib")


def _thing(value: Any) -> Any:
    if inspect.isclass(value):
        return _class(value)
    if callable(value):
        return {"signature": _signature(value)}
    return {"value": type(value).__name__ if not isinstance(value, (str, int, float, tuple)) else _text(repr(value))}


def _class(kind: type[Any]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name in dir(kind):
        value = inspect.getattr_static(kind, name)
        home = next((base for base in kind.__mro__ if name in vars(base)), object)
        if not home.__module__.startswith("fastact") or (name.startswith("_") and name not in _PROTOCOL):
            continue
        if isinstance(value, property):
            members[name] = "property"
        elif isinstance(value, (classmethod, staticmethod)):
            members[name] = f"{type(value).__name__} {_signature(value.__func__)}"
        elif callable(value):
            members[name] = _signature(value)
        else:
            members[name] = "attribute"
    own = fastact.__all__
    bases = [base.__name__ for base in kind.__mro__[1:] if base.__name__ in own or "fastact" not in base.__module__]
    return {"signature": _signature(kind), "bases": bases, "members": members}


def _signature(value: Any) -> str:
    try:
        return _text(str(inspect.signature(value)))
    except (TypeError, ValueError):
        return ""


def _text(text: str) -> str:
    text = re.sub(r" at 0x[0-9a-f]+", "", re.sub(r"<class '([^']+)'>", r"\1", text)).replace("'", "")
    return _HOMES.sub("", text)


def _returned(folder: Path) -> dict[str, Any]:
    """Classes that nobody makes, but everybody gets."""
    log = fastact.open_log(folder / "watched" / "exploding")
    diagnosis = log.diagnose()
    detailed = fastact.summarize(np.ones(3), extras=("exponents", "outliers"))
    got = [log.layers[0], next(iter(log.replay())), diagnosis.findings[0].evidence, detailed.exponents,
           detailed.outliers()]  # fmt: skip
    return {type(value).__name__: _class(type(value)) for value in got}


def _commands() -> dict[str, Any]:
    from typer.main import get_command

    root: Any = get_command(app)
    found = {"": _parameters(root)}
    return found | {name: _parameters(command) for name, command in sorted(root.commands.items())}


def _parameters(command: Any) -> dict[str, Any]:
    return {
        parameter.name: {
            "kind": parameter.param_type_name,
            "options": sorted([*parameter.opts, *parameter.secondary_opts]),
            "type": _type(parameter),
            "choices": [str(choice) for choice in _choices(parameter)],
            "bounds": [getattr(parameter, "min", None), getattr(parameter, "max", None)],
            "default": None if callable(parameter.default) else _text(str(parameter.default)),
            "required": parameter.required,
            "many": [parameter.multiple, parameter.nargs] if hasattr(parameter, "multiple") else [parameter.nargs],
            "metavar": parameter.metavar,
        }
        for parameter in command.params
    }


def _type(parameter: Any) -> str:
    found = getattr(parameter, "type_descriptor", None)
    return _text(str(found.annotation if found is not None else parameter.type))


def _choices(parameter: Any) -> Any:
    found = getattr(parameter, "type_descriptor", None)
    if found is None:
        return getattr(parameter.type, "choices", ())
    return found.annotation if isinstance(found.annotation, enum.EnumMeta) else ()


def _without_prose(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: _without_prose(item)
            for name, item in value.items()
            if name != "description" or isinstance(item, dict)
        }
    return [_without_prose(item) for item in value] if isinstance(value, list) else value


def _outputs(folder: Path) -> dict[str, Any]:
    """Exit codes of commands, and what they print as JSON, its prose left out."""
    array = folder / "array.npy"
    np.save(array, sample("float32", 640).reshape(20, 32))
    runs = folder / "watched"
    calls: dict[str, list[Any]] = {
        "version": ["--version"],
        "no command": [],
        "unknown": ["diagnosis"],
        "missing": ["diagnose", folder / "nothing"],
        "healthy": ["diagnose", runs / "healthy-whole", "--json"],
        "sick": ["diagnose", runs / "saturated-whole", "--json"],
        "fail on": ["diagnose", runs / "saturated-whole", "--json", "--fail-on", "critical"],
        "preset": ["diagnose", runs / "exploding", "--json", "--preset", "sagemaker", "--window", "20"],
        "ranks": ["diagnose", runs / "ranks", "--json"],
        "rank": ["diagnose", runs / "ranks", "--json", "--rank", "1"],
        "no such rank": ["diagnose", runs / "ranks", "--json", "--rank", "7"],
        "schema": ["diagnose", "--json-schema"],
        "layers": ["layers", runs / "healthy-whole"],
        "replay": ["replay", runs / "healthy-whole", "--from", "3", "--to", "9"],
        "stats": ["stats", array, "--json"],
        "stats of neurons": ["stats", array, "--json", "--axis", "-1", "--saturation", "0.01", "0.99"],
        "export": ["export", runs / "lz4", "--to", folder / "lz4.csv"],
        "recover": ["recover", runs / "torn", "--to", folder / "recovered"],
        "explain": ["explain"],
        "explain dead": ["explain", "dead"],
        "explain nothing": ["explain", "nothing"],
    }
    found = {name: _output([str(word) for word in words]) for name, words in calls.items()}
    recovered = fastact.open_log(folder / "recovered")
    found["recovered"] = {"rows": recovered.to_table().num_rows, "warnings": len(recovered.warnings)}
    found["exported"] = {"csv": (folder / "lz4.csv").read_text(encoding="utf-8").splitlines()[0]}
    return found


def _output(words: list[str]) -> Any:
    out, code = io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        try:
            app(words)
        except SystemExit as end:
            code = int(end.code or 0)
    try:
        printed = _numbers(json.loads(out.getvalue()))
    except ValueError:
        printed = None
    text = out.getvalue()
    told = sorted(set(re.findall(r"\w+", text))) if words == ["explain"] else []
    return {"code": code, "lines": text.count("\n") if words[:1] == ["replay"] else 0, "told": told, "json": printed}


def _numbers(value: Any) -> Any:
    """What is printed without its prose, and without numbers that differ from machine to machine."""
    if isinstance(value, dict):
        left_out = ("message", "cause", "remedies", "description", "file")
        return {name: f"{type(item).__name__}" if name in left_out else _numbers(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _dicts(folder: Path) -> dict[str, Any]:
    """The keys of dicts that are given out, and the types of their values."""
    diagnosis = fastact.open_log(folder / "watched" / "saturated").diagnose()
    said = diagnosis.to_dict()
    parts = {
        "stats": fastact.summarize(np.ones(3)).to_dict(),
        "diagnosis": said,
        "finding": said["findings"][0],
        "layer": said["layers"][0],
    }
    found = {name: {key: type(value).__name__ for key, value in it.items()} for name, it in parts.items()}
    return {**found, "as json": json.loads(diagnosis.to_json()) == said}
