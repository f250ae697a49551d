"""What recorded logs say: their rows, and what is diagnosed in them, in numbers and names; the prose is left out."""

import lzma
import tarfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np

import fastact

from .arrays import KINDS, sample
from .cases import tensor
from .inner import Diagnoser
from .store import LOGS, digest, plain

__all__ = ["PRESETS", "findings", "live", "logs", "row_digests", "timeline", "unpack"]

PRESETS: Final = ("naive", "sagemaker", "deepdiagnosis", "torchmortem", "autotrainer")
_DATA: Final = Path(__file__).parent.parent / "data"
_WINDOWS: Final = (7, 30, 1000)


def unpack(folder: Path) -> None:
    """Unpacks the recorded logs."""
    with lzma.open(LOGS) as packed, tarfile.open(fileobj=packed) as tar:
        tar.extractall(folder, filter="data")


def logs(folder: Path) -> Iterator[tuple[str, Any]]:
    """The name of each log in `folder` and of `tests/data`, and what it says."""
    for path in sorted(_DATA.glob("schema-*")):
        yield path.name, _said(path, closely=True)
    for path in sorted(path for part in folder.iterdir() for path in part.iterdir() if part.name != "histories"):
        yield f"{path.parent.name}/{path.name}", _said(path, closely=True)
    for path in sorted((folder / "histories").glob("*/*")):
        closely = path.parent.name == "test_presets"
        yield f"{path.parent.name}/{path.name}", _said(path, closely=closely)


def _said(path: Path, *, closely: bool) -> dict[str, Any]:
    log = fastact.open_log(path)
    table = log.to_table()
    said: dict[str, Any] = {
        "rows": table.num_rows,
        "warnings": len(log.warnings),
        "columns": row_digests(table) if closely else digest(row_digests(table)),
        "diagnosis": _diagnosis(log.diagnose()),
        "windows": {str(window): findings(log.diagnose(window_size=window)) for window in _WINDOWS},
    }
    if not closely:
        return said
    said["layers"] = plain([[i.name, i.order, i.kind, i.dtype, i.saturation] for i in log.layers])
    said["metadata"] = log.metadata
    said["schema"] = [[field.name, str(field.type), field.nullable] for field in log.schema]
    said["replayed"] = digest(*(plain([r.step, r.layer, r.rank, r.row, r.neurons]) for r in log.replay()))
    said["presets"] = {preset: _diagnosis(log.diagnose(preset=preset)) for preset in PRESETS}
    said["ranks"] = {str(rank): _diagnosis(log.diagnose(rank=rank)) for rank in log.ranks}
    for by in ("layer", "step", "rank"):
        said[f"by {by}"] = {str(key): plain(stats.state) for key, stats in [*log.aggregate(by).items()][:12]}
    said["timeline"] = timeline(log)
    return said


def row_digests(table: Any, *, without: tuple[str, ...] = ()) -> dict[str, str]:
    """A digest of each column of a log's rows."""
    return {name: digest(plain(table[name].to_pylist())) for name in table.column_names if name not in without}


def findings(diagnosis: Any) -> list[Any]:
    """Each finding in the order of the diagnosis, with the numbers it rests on; without its prose."""
    return [
        plain([f.layer, f.condition, f.severity, f.first_step, f.consequence_of, dict(sorted(f.evidence.items()))])
        for f in diagnosis.findings
    ]


def _diagnosis(diagnosis: Any) -> dict[str, Any]:
    said = diagnosis.to_dict()
    return {
        "healthy": said["healthy"],
        "findings": findings(diagnosis),
        "remedies": [len(finding["remedies"]) for finding in said["findings"]],
        "layers": plain(said["layers"]),
    }


def timeline(log: Any) -> list[Any]:
    """What a live monitor would have said after each step of the first rank, where it is new."""
    diagnoser = Diagnoser()
    said: list[Any] = []
    last: Any = None
    records = (record for record in log.replay() if record.rank == log.ranks[0])
    for step, group in groupby(records, key=lambda record: record.step):
        for record in group:
            diagnoser.add(record.info)
            diagnoser.append(record.layer, record.row)
        now = [[f.layer, f.condition, f.severity, f.first_step] for f in diagnoser.diagnose().findings]
        if now != last:
            said.append([step, now])
            last = now
    return said


def live(folder: Path) -> Iterator[tuple[str, Any]]:
    """Logs that are written now, of made-up activations: their rows without the clock, and what the monitor says."""
    import torch

    for kind in KINDS:
        with fastact.ActivationMonitor(folder / kind, window_size=20, every=2, metadata={"kind": kind}) as monitor:
            told = [_recorded(monitor, kind, step) for step in range(12)]
            rows = {name: layer.rows for name, layer in monitor.history.items()}
            said = _diagnosis(monitor.diagnose())
        columns = row_digests(fastact.open_log(folder / kind).to_table(), without=("time",))
        history = {name: _without_time(values) for name, values in rows.items()}
        yield kind, {"told": plain(told), "columns": columns, "history": history, "diagnosis": said}
    # Modules that compute nothing that differs from machine to machine.
    model = torch.nn.Sequential(torch.nn.Identity(), torch.nn.ReLU(), torch.nn.Hardtanh(), torch.nn.Flatten())
    seen: list[Any] = []
    options: dict[str, Any] = {"on_finding": lambda finding: seen.append(finding), "alert_severity": "warning"}
    with fastact.ActivationMonitor(folder / "watched", **options) as monitor:
        with fastact.torch.watch(model, monitor, gradients=True):
            for step in range(40):
                x = tensor(sample("float32", 64 * 48, step)).reshape(64, 48).clone()
                x[:, :20] = -1.0
                model(x.requires_grad_() if step % 2 else x).sum().backward() if step % 2 else model(x)
                monitor.step()
        said = _diagnosis(monitor.diagnose())
    table = fastact.open_log(folder / "watched").to_table()
    alerts = [[finding.layer, finding.condition, finding.severity, finding.first_step] for finding in seen]
    yield "watched", {"columns": row_digests(table, without=("time",)), "diagnosis": said, "alerts": alerts}


def _recorded(monitor: Any, kind: str, step: int) -> Any:
    x = sample(kind, 3200, step)
    grid = x.reshape(100, 32)
    stats = [
        monitor.record("whole", x, kind="Tanh"),
        monitor.record("neurons", grid, axis=-1, kind="ReLU"),
        monitor.record("parts", grid[:40], axis=-1),
        monitor.record("parts", grid[40:], axis=-1),
        monitor.record("tensor", tensor(x).reshape(100, 32), axis=1, kind="Sigmoid"),
        monitor.record("images", tensor(x).reshape(10, 8, 40), axis=1, saturation=(-2.0, 2.0)),
        monitor.record("stats", fastact.summarize(x[:77])),
    ]
    monitor.step()
    return [None if one is None else one.state for one in stats]


def _without_time(rows: Any) -> str:
    return digest(*(np.ascontiguousarray(rows[name]) for name in rows.dtype.names if name != "time"))
