"""Makes the recorded logs, once: python -m tests.golden.record. What is made of them since then is what is tested.

They are histories that the tests of rules judge, one log each; runs that a monitor watched, whole, torn and of two
processes; and some of the zoo's. They hold schema 1.2. A later schema wants logs of its own beside these.
"""

import dataclasses
import io
import json
import lzma
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Any, Final
from unittest import mock

import numpy as np

import fastact

from .arrays import bell
from .inner import ROW_NAMES, Diagnoser, LogWriter
from .store import FOLDER, LOGS

__all__ = ["main"]

_TESTS: Final = Path(__file__).parent.parent
_SOURCES: Final = (
    "test_rules", "test_oscillating", "test_outliers_underflow", "test_overflow_constant", "test_experts",
    "test_early", "test_diagnosis", "test_presets", "test_alerts", "test_thresholds",
)  # fmt: skip
#: Histories kept of one test, and rows of one history: some tests judge hundreds.
_OF_A_TEST: Final = 8
_ROWS: Final = 1500
_LAYER: Final = ROW_NAMES.index("layer")


class _Harvest:
    """A plugin of pytest that keeps what the tests' diagnosers were given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.test = ""
        self.seen: set[str] = set()
        self.count = 0

    def pytest_runtest_setup(self, item: Any) -> None:
        self.test, self.count = f"{item.path.stem}/{item.name}", 0

    def keep(self, diagnoser: Any) -> None:
        """Writes what a diagnoser was given as a log, unless another one was given the same."""
        given = diagnoser.given
        if not self.test or not 0 < len(given["rows"]) <= _ROWS or self.count >= _OF_A_TEST:
            return
        mark = repr((given["infos"], given["rows"], given["metadata"]))
        if mark in self.seen:
            return
        self.seen.add(mark)
        name = "".join(sign if sign.isalnum() or sign in "_.-" else "-" for sign in self.test.partition("/")[2])
        path = self.folder / self.test.partition("/")[0] / f"{name}.{self.count}"
        try:
            # The layers' order is that of their first rows, as a monitor would have it.
            with LogWriter(path, _plain(), metadata=given["metadata"]) as writer:
                for info in given["infos"].values():
                    writer.add_layer(info)
                for layer, row in given["rows"]:
                    cells = list(row)
                    cells[_LAYER] = given["infos"][layer].order
                    writer.append(tuple(cells))
            fastact.open_log(path).diagnose()
        except Exception as error:
            print(f"left out: {self.test}: {error}")
            shutil.rmtree(path, ignore_errors=True)
            return
        self.count += 1


def _plain() -> Any:
    # Uncompressed: all logs are compressed together.
    return fastact.LogOptions(compression=None)


def _histories(folder: Path) -> None:
    import pytest

    harvest = _Harvest(folder)
    start, add, append, diagnose = Diagnoser.__init__, Diagnoser.add, Diagnoser.append, Diagnoser.diagnose

    def started(self: Any, window_size: int = 100, thresholds: Any = None) -> None:
        start(self, window_size, thresholds)
        text = json.dumps(dataclasses.asdict(self.thresholds))
        self.given = {"infos": {}, "rows": [], "metadata": {"window_size": str(window_size), "thresholds": text}}

    def added(self: Any, info: Any) -> Any:
        self.given["infos"].setdefault(info.name, info)
        return add(self, info)

    def appended(self: Any, name: str, row: Any) -> Any:
        self.given["rows"].append((name, row))
        return append(self, name, row)

    def diagnosed(self: Any, preset: str | None = None) -> Any:
        harvest.keep(self)
        return diagnose(self, preset)

    patches: dict[str, Any] = {"__init__": started, "add": added, "append": appended, "diagnose": diagnosed}
    with mock.patch.multiple(Diagnoser, **patches):
        pytest.main([*(str(_TESTS / f"{name}.py") for name in _SOURCES), "-q", "-p", "no:cacheprovider"], [harvest])


def _watched(folder: Path) -> None:
    """A training that goes well, and the same going wrong, with what a log may have besides rows."""
    import torch

    def train(path: Path, *, rate: float, std: float = 0.0, steps: int = 60, seed: int = 0, **options: Any) -> None:
        gradients = bool(options.pop("gradients", False))
        per_neuron = bool(options.pop("per_neuron", True))
        torch.manual_seed(seed)
        first, middle, last = torch.nn.Linear(16, 32), torch.nn.Linear(32, 32), torch.nn.Linear(32, 4)
        model = torch.nn.Sequential(first, torch.nn.ReLU(), middle, torch.nn.Tanh(), last)
        if std:
            torch.nn.init.normal_(middle.weight, std=std)
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
        x = torch.from_numpy(bell(5, 64 * 16).reshape(64, 16)).float()
        y = x[:, :4].argmax(1)
        log = fastact.LogOptions(**{"compression": None, **options})
        with fastact.ActivationMonitor(path, metadata={"model": "tiny"}, log=log) as monitor:
            watch = fastact.torch.watch(model, monitor, gradients=gradients) if per_neuron else None
            for _ in range(steps):
                loss = torch.nn.functional.cross_entropy(model(x), y)
                if watch is None:
                    part = x
                    for place, layer in enumerate(model):
                        part = layer(part)
                        monitor.record(str(place), part, kind=type(layer).__name__)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                monitor.step()
            if watch is not None:
                watch.remove()

    train(folder / "healthy", rate=0.1, gradients=True)
    train(folder / "healthy-whole", rate=0.1, per_neuron=False)
    train(folder / "exploding", rate=1e4)
    train(folder / "saturated", rate=0.05, std=3.0, gradients=True)
    train(folder / "saturated-whole", rate=0.05, std=3.0, per_neuron=False)
    train(folder / "lz4", rate=0.1, steps=20, compression="lz4")
    train(folder / "zstd", rate=0.1, steps=20, compression="zstd")
    train(folder / "thinned", rate=0.1, steps=90, keep_steps=30, merge_steps=5, batch_rows=20, segment_bytes=6000)
    train(folder / "resumed", rate=0.1, steps=20)
    train(folder / "resumed", rate=3.0, steps=25, seed=1)
    for rank in range(2):
        train(folder / "ranks" / f"rank-{rank:05d}", rate=0.05, std=3.0, seed=rank, steps=40, batch_rows=32)
    for damage in ("torn", "flipped"):
        train(folder / damage, rate=0.1, steps=40, batch_rows=32)
        (segment,) = (folder / damage).rglob("*.arrows")
        data = bytearray(segment.read_bytes())
        data[len(data) // 2] ^= 4 * (damage == "flipped")
        segment.write_bytes(data[: -2000 if damage == "torn" else None])


def _zoo(folder: Path) -> None:
    from bench.zoo.recipes import Recipe, recipes
    from bench.zoo.train import training_loop

    kept: dict[str, Recipe] = {}
    for recipe in recipes("tuning"):
        kept.setdefault(recipe.sick.fault if recipe.sick else f"healthy {recipe.network.net}", recipe)
    for recipe in list(kept.values())[:: max(1, len(kept) // 12)]:
        short = dataclasses.replace(recipe, network=dataclasses.replace(recipe.network, steps=64, before=0))
        training_loop(short, folder / recipe.name)


def main() -> None:
    """Runs from the command line."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        _histories(root / "histories")
        _watched(root / "watched")
        _zoo(root / "zoo")
        FOLDER.mkdir(exist_ok=True)
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for path in sorted(root.rglob("*")):
                if path.is_file():
                    entry = tarfile.TarInfo(str(path.relative_to(root)))
                    entry.size = path.stat().st_size
                    tar.addfile(entry, io.BytesIO(path.read_bytes()))
        options = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 26, "lc": 0, "pb": 3}]
        LOGS.write_bytes(lzma.compress(packed.getvalue(), filters=options))
        for part in ("histories", "watched", "zoo"):
            files = list((root / part).rglob("*.arrows"))
            print(part, len(files), "segments,", sum(path.stat().st_size for path in files), "bytes")
        print(f"{LOGS.name}: {LOGS.stat().st_size:,} bytes, {np.sum([1 for _ in root.rglob('*.arrows')])} segments")


if __name__ == "__main__":
    main()
