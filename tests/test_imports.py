"""What an import costs and promises: names that resolve, modules that load, and nothing heavy for those who need none.

Each check runs in an interpreter of its own, since this one has loaded everything.
"""

import importlib
import os
import pkgutil
import subprocess
import sys
from importlib.metadata import entry_points, version

import pytest

import fastact

HEAVY = ["torch", "jax", "pyarrow", "numba.cuda", "rich", "typer", "pandas", "matplotlib", "sklearn", "polars"]
MODULES = sorted(module.name for module in pkgutil.walk_packages(fastact.__path__, "fastact."))


def loaded_after(statement: str) -> set[str]:
    """The names of all modules that a fresh interpreter holds after `statement`."""
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_probe_sees_what_is_loaded() -> None:
    assert "rich" in loaded_after("import rich")


def test_bare_import_loads_nothing_heavy() -> None:
    loaded = loaded_after("import fastact")
    assert "fastact" in loaded
    assert loaded.isdisjoint(HEAVY), sorted(loaded.intersection(HEAVY))


def test_summarize_needs_neither_torch_nor_arrow() -> None:
    loaded = loaded_after("import fastact, numpy; fastact.summarize(numpy.ones(8, numpy.float32))")
    assert loaded.isdisjoint({"torch", "jax", "pyarrow", "numba.cuda", "rich", "typer"})


def test_every_public_name_resolves() -> None:
    assert fastact.__all__
    missing = [name for name in fastact.__all__ if not hasattr(fastact, name)]
    assert not missing
    assert set(fastact.__all__) <= set(dir(fastact))


def test_an_unknown_name_is_an_attribute_error() -> None:
    name = "no_such_name"
    with pytest.raises(AttributeError, match=name):
        getattr(fastact, name)


@pytest.mark.parametrize("module", MODULES)
def test_every_module_imports_and_keeps_its_promises(module: str) -> None:
    loaded = importlib.import_module(module)
    assert loaded.__doc__
    missing = [name for name in getattr(loaded, "__all__", []) if not hasattr(loaded, name)]
    assert not missing


ALONE = """
import gc, os, sys
gc.disable()
import numba, numpy, pyarrow, torch, typer
assert not [name for name in sys.modules if name.startswith("fastact")]

def visit(name):
    # Imports it, then what is below it: what is loaded by now would be in the same way if it were imported alone, which
    # begins with the packages above it; each of the others in a process of its own.
    __import__(name)
    print(name, flush=True)
    for below in sys.argv[1:]:
        if below.rpartition(".")[0] != name:
            continue
        if below in sys.modules:
            visit(below)
        elif child := os.fork():
            os.waitpid(child, 0)
        else:
            try:
                visit(below)
            finally:
                os._exit(0)

visit("fastact")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork: an interpreter for each would take a minute")
def test_every_module_imports_alone() -> None:
    """No module counts on another one having been imported before."""
    modules = [module for module in MODULES if not module.endswith("__main__")]
    assert len(modules) > 90

    def failing(*names: str) -> list[str]:
        command = [sys.executable, "-W", "error", "-c", ALONE, *names]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return sorted(set(names).difference(done.stdout.split()))

    assert failing("fastact.no_such_module", "fastact.errors") == ["fastact.no_such_module"]
    assert failing(*modules) == []


def test_the_version_is_that_of_the_installed_package() -> None:
    assert fastact.__version__ == version("fastact")


def test_the_command_is_installed() -> None:
    (command,) = entry_points(group="console_scripts", name="fastact")
    assert callable(command.load())


def test_without_torch_the_package_can_still_be_looked_at() -> None:
    program = """
import inspect, io, contextlib, sys
from unittest import mock
sys.modules["torch"] = None
import fastact
assert not hasattr(fastact, "torch")
assert "summarize" in dict(inspect.getmembers(fastact))
with contextlib.redirect_stdout(io.StringIO()) as out:
    help(fastact)
assert "ActivationMonitor" in out.getvalue()
with mock.patch("fastact.summarize", lambda x: "patched"):
    assert fastact.summarize(1) == "patched"
mock.create_autospec(fastact)
try:
    fastact.torch
except AttributeError as error:
    print(error)
try:
    import fastact.torch
except ImportError as error:
    print(type(error).__name__)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("fastact.torch cannot be loaded: ")
    assert first.endswith("pip install 'fastact[torch]'")
    assert second in ("ModuleNotFoundError", "MissingExtraError")
