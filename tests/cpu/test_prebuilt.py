"""Machine code that comes with the package: used where it fits and nowhere else; what is compiled is said."""

import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from numba.core import config

from fastact.cpu import notice, prebuild, prebuilt
from fastact.cpu.cache import code_file
from fastact.cpu.jit import COMPILED
from fastact.cpu.objects import Entry
from fastact.cpu.sweep import small_kernel
from fastact.cpu.warmup import DEFAULT, entry_points

USE = """
import os, sys, numpy as np, fastact
from pathlib import Path
from fastact.cpu import prebuilt
prebuilt.FOLDER = Path({folder!r})
found = fastact.summarize(np.float32([1, 2, 3, np.nan]))
assert (found.mean, found.min, found.max, found.nans) == (2.0, 1.0, 3.0, 1), found
kept = list(Path(os.environ["FASTACT_CACHE_DIR"]).rglob("small-*.bin"))
print(prebuilt.prebuilt_folder()[1] or "used", "numba.np.arraymath" in sys.modules, len(kept))
"""
needs_compiler = pytest.mark.skipif(not COMPILED, reason="NUMBA_DISABLE_JIT is set")


def level() -> str:
    for name, needed in prebuilt.LEVELS.get(prebuilt.machine(), {}).items():
        if needed.features <= prebuilt.host_features():
            return name
    pytest.skip("nothing is shipped for such a CPU")


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set with the entry point of `summarize` for small float32 tensors."""
    folder = tmp_path_factory.mktemp("prebuilt")
    target = folder / prebuilt.folder_of(level())
    target.mkdir()
    kernel: Any = small_kernel("float32")
    (signature,) = [one.signature for one in kernel.overloads.values()]
    file = code_file("small-float32", signature, kernel.targetctx)
    entry = file.read() if file else None
    if entry is None:
        pytest.skip("this process keeps no machine code")
    (target / "small-float32.bin").write_bytes(entry.pack("small-float32"))
    (target / prebuilt.MANIFEST).write_text(json.dumps(prebuilt.describe()))
    return folder


def use(folder: Path, tmp_path: Path, **environment: str) -> list[str]:
    variables = {**os.environ, "FASTACT_PREBUILT": "", "FASTACT_CACHE_DIR": str(tmp_path / "cache"), **environment}
    code = USE.format(folder=str(folder))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=variables, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().rsplit(" ", 2)


@needs_compiler
def test_what_came_with_the_package_compiles_nothing(shipped: Path, tmp_path: Path) -> None:
    assert use(shipped, tmp_path) == ["used", "False", "0"]


@needs_compiler
def test_a_damaged_one_is_compiled_afresh(shipped: Path, tmp_path: Path) -> None:
    path = shipped / prebuilt.folder_of(level()) / "small-float32.bin"
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:5000] + b"?" + whole[5001:])
        assert use(shipped, tmp_path) == ["used", "True", "1"]
    finally:
        path.write_bytes(whole)


@needs_compiler
def test_what_does_not_fit_is_left_alone(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def why() -> str:
        prebuilt.prebuilt_folder.cache_clear()
        return prebuilt.prebuilt_folder()[1]

    monkeypatch.setattr(prebuilt, "FOLDER", shipped)
    monkeypatch.delenv("FASTACT_PREBUILT", raising=False)
    manifest = shipped / prebuilt.folder_of(level()) / prebuilt.MANIFEST
    right = manifest.read_text()
    try:
        assert why() == ""
        for name, value, words in (
            ("sources", "0" * 64, "other sources"),
            ("format", 0, "other sources"),
            ("numba", "0.60.0", "for Numba"),
            ("numba", None, "cannot be read"),
        ):
            manifest.write_text(json.dumps({**json.loads(right), name: value}))
            assert words in why()
        manifest.write_text(right)
        monkeypatch.setenv("FASTACT_PREBUILT", "off")
        assert why() == "FASTACT_PREBUILT=off"
        monkeypatch.setenv("FASTACT_PREBUILT", "v1")
        assert why().startswith("FASTACT_PREBUILT: got 'v1', want off or ")
        monkeypatch.delenv("FASTACT_PREBUILT")
        monkeypatch.setattr(prebuilt, "host_features", frozenset)
        assert "for such a CPU" in why()
        monkeypatch.undo()
        monkeypatch.delenv("FASTACT_PREBUILT", raising=False)
        monkeypatch.setattr(prebuilt, "FOLDER", shipped)
        monkeypatch.setattr(config, "OPT", 0)
        assert "settings" in why()
    finally:
        manifest.write_text(right)
        monkeypatch.undo()
        prebuilt.prebuilt_folder.cache_clear()


def test_the_levels_of_a_processor() -> None:
    v3, v4 = prebuilt.LEVELS["x86_64"]["v3"], prebuilt.LEVELS["x86_64"]["v4"]
    assert v3.features < v4.features
    settings = v4.settings()
    assert settings["NUMBA_CPU_NAME"] == "x86-64-v4"
    assert "+avx512vl" in settings["NUMBA_CPU_FEATURES"]
    assert settings["NUMBA_CPU_FEATURES"].endswith(",-prefer-256-bit")
    assert not v3.settings()["NUMBA_CPU_FEATURES"].endswith(",")
    assert "+avx512bf16" in v4.settings("avx512bf16")["NUMBA_CPU_FEATURES"].split(",")


def test_what_a_feature_is_worth_is_there_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """bfloat16 by the CPU's own dot products, where it has them."""

    def compile_nothing(names: list[str], settings: dict[str, str], folder: str) -> None:
        Path(folder).mkdir()
        for name in (*names, "any"):
            entry = Entry("python", "c", "environment", settings["NUMBA_CPU_FEATURES"].encode())
            (Path(folder) / f"small-{name}-0.bin").write_bytes(entry.pack(f"small-{name} CPU"))

    monkeypatch.setattr(prebuild, "_compile", compile_nothing)
    monkeypatch.setattr(prebuild, "machine", lambda: "x86_64")
    v4 = prebuilt.LEVELS["x86_64"]["v4"]
    for module in (prebuild, prebuilt):
        monkeypatch.setattr(module, "host_features", lambda: v4.features)
        monkeypatch.setattr(module, "folder_of", lambda name: f"linux-x86_64-{name}")
    (line,) = prebuild.build(["float32", "bfloat16"], tmp_path, here=True)
    assert line.startswith("linux-x86_64-v4: 3 entry points")
    lines = prebuild.build(["float32", "bfloat16"], tmp_path)
    assert ["4 entry points" in line for line in lines] == [True, False]
    monkeypatch.setattr(prebuilt, "machine", lambda: "x86_64")
    monkeypatch.setattr(prebuilt, "prebuilt_folder", lambda: (tmp_path / "linux-x86_64-v4", ""))

    def code(name: str) -> bytes:
        entry = prebuilt.prebuilt_entry(name)
        assert entry is not None
        return entry.code

    assert b"bf16" not in code("small-bfloat16")
    monkeypatch.setattr(prebuilt, "host_features", lambda: v4.features | {"avx512bf16"})
    assert b"+avx512bf16" in code("small-bfloat16")
    assert b"bf16" not in code("small-float32")
    assert prebuilt.prebuilt_entry("small-int8") is None


def test_a_set_is_built_for_each_level(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a compiler that writes what it was told: what it takes half a minute to compile is not looked at here."""
    seen = []

    def compile_nothing(names: list[str], settings: dict[str, str], folder: str) -> None:
        seen.append((tuple(names), settings["NUMBA_CPU_NAME"]))
        Path(folder).mkdir()
        for name in names:
            entry = Entry("python", "c", "environment", f"{name} for {settings['NUMBA_CPU_NAME']}".encode())
            (Path(folder) / f"small-{name}-0123456789ab.bin").write_bytes(entry.pack(f"small-{name} signature and CPU"))

    monkeypatch.setattr(prebuild, "_compile", compile_nothing)
    monkeypatch.setattr(prebuild, "machine", lambda: "x86_64")
    monkeypatch.setattr(prebuild, "folder_of", lambda name: f"linux-x86_64-{name}")
    stale = tmp_path / "linux-x86_64-v3" / "stale.bin"
    stale.parent.mkdir()
    stale.write_bytes(b"")
    lines = prebuild.build(["float32", "float64", "int8"], tmp_path)
    assert len(lines) == 2
    assert all("3 entry points" in line for line in lines)
    assert len(seen) == 4
    assert not stale.exists()
    for name, cpu in (("v3", "x86-64-v3"), ("v4", "x86-64-v4")):
        folder = tmp_path / f"linux-x86_64-{name}"
        entry = Entry.unpack((folder / "small-int8.bin").read_bytes(), "small-int8")
        assert entry is not None
        assert entry.code == f"int8 for {cpu}".encode()
        assert json.loads((folder / prebuilt.MANIFEST).read_text())["cpu"] == cpu
    monkeypatch.setattr(prebuild, "machine", lambda: "vax")
    assert prebuild.build(["float32"], tmp_path) == []


@needs_compiler
def test_another_process_compiles_for_a_level_what_is_shipped(tmp_path: Path) -> None:
    settings = prebuilt.LEVELS[prebuilt.machine()][level()].settings()
    prebuild._compile(["bool"], settings, str(tmp_path / "compiled"))
    target = tmp_path / "shipped"
    target.mkdir()
    assert prebuild._ship(tmp_path / "compiled", target) == len(entry_points("bool"))
    assert {path.stem for path in target.iterdir()} == entry_points("bool")
    for name in entry_points("bool"):
        assert Entry.unpack((target / f"{name}.bin").read_bytes(), name) is not None


def test_the_wheel_takes_it_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("hatchling")
    from scripts.wheel import PrebuiltHook

    folder = tmp_path / "fastact" / "cpu" / "prebuilt" / f"{sys.platform}-x-v1"
    status = [0]

    def build(*_: Any, **__: Any) -> SimpleNamespace:
        folder.mkdir(parents=True, exist_ok=True)
        return SimpleNamespace(returncode=status[0])

    monkeypatch.setattr("scripts.wheel.subprocess.run", build)
    warned: list[str] = []
    app = SimpleNamespace(display_warning=warned.append)
    hook = PrebuiltHook(str(tmp_path), {}, None, None, str(tmp_path), "wheel", app)  # type: ignore[arg-type]

    def built(version: str = "standard") -> dict[str, Any]:
        data: dict[str, Any] = {"force_include": {}}
        hook.initialize(version, data)
        return data

    monkeypatch.delenv("FASTACT_PURE_WHEEL", raising=False)
    assert built("editable") == {"force_include": {}}
    data = built()
    assert data["force_include"] == {str(folder): f"fastact/cpu/prebuilt/{folder.name}"}
    assert data["tag"].startswith("py3-none-")
    assert data["pure_python"] is False
    status[0] = 1
    assert built() == {"force_include": {}}
    assert "when it is first used" in warned[0]
    monkeypatch.setenv("FASTACT_PURE_WHEEL", "1")
    status[0] = 0
    assert built() == {"force_include": {}}


@needs_compiler
def test_warmup_knows_what_it_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The progress bar counts by these names."""
    made = set()
    from fastact.cpu import bit_sum, extras, neuron_kernels, numpy_headers, openmp, sweep, sweep_many, warmup

    def kernel(function: Any, name: str, *_: Any, **__: Any) -> Any:
        made.add(name)
        return function

    makers = [
        bit_sum.bits_kernel, extras.details_kernel, neuron_kernels.fold_kernel, neuron_kernels.row_kernel,
        neuron_kernels.run_kernel, neuron_kernels.summary_kernel, numpy_headers.headers_kernel,
        openmp.share_kernel, openmp.team_kernel,
        sweep.merge_kernel, sweep.parts_kernel, sweep.small_kernel, sweep_many.many_kernel,
    ]  # fmt: skip
    for module in (bit_sum, extras, neuron_kernels, numpy_headers, openmp, sweep, sweep_many):
        monkeypatch.setattr(module, "kernel", kernel)
    for maker in makers:
        for module in (warmup, neuron_kernels, sweep):
            if hasattr(module, maker.__name__):
                monkeypatch.setattr(module, maker.__name__, maker.__wrapped__)
    warmup.warmup("bfloat16")
    assert made == entry_points("bfloat16")
    assert "float32" in DEFAULT


def test_what_takes_long_is_said_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(notice, "_PATIENCE", 0.0)
    monkeypatch.setattr(notice, "_said", [])
    for _ in range(2):
        others = set(threading.enumerate())
        with notice.noticed():
            for thread in set(threading.enumerate()) - others:
                thread.join(300)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "fastact warmup" in record.getMessage()
    caplog.clear()
    monkeypatch.setattr(notice, "_PATIENCE", 1000.0)
    monkeypatch.setattr(notice, "_said", [])
    others = set(threading.enumerate())  # such as that of a test's time limit
    with notice.noticed():
        pass
    assert not caplog.records
    assert not any(isinstance(thread, threading.Timer) and not thread.finished.is_set()
                   for thread in set(threading.enumerate()) - others)  # fmt: skip


@needs_compiler
def test_machine_code_on_disk_is_plain_fields(shipped: Path) -> None:
    """No pickle: reading it can run nothing."""
    content = (shipped / prebuilt.folder_of(level()) / "small-float32.bin").read_bytes()
    length = int.from_bytes(content[32:36], "little")
    fields = json.loads(content[36 : 36 + length])
    assert set(fields) == {"key", "python", "c", "environment"}
    assert all(isinstance(value, str) for value in fields.values())
    assert Entry.unpack(content, "another key") is None
    for damaged in (b"", content[:-1], content[:40], b"x" + content):
        assert Entry.unpack(damaged, "small-float32") is None
