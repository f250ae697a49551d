"""A log as a report: one pass over its rows gives the diagnosis and the cells that the page is drawn from."""

import dataclasses
import datetime as dt
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastact.diagnosis.show.neuron_maps import with_dead_neurons
from fastact.diagnosis.show.webpage import Subject, document, is_loss
from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.heatmap.collect import Collector
from fastact.log.files import is_part_of_a_run
from fastact.replay.blocks import add_block

if TYPE_CHECKING:
    from fastact.replay.frames import Progress
    from fastact.replay.log import Log

#: Entries of the metadata that the monitor writes for the diagnosis.
_OWN: Final = frozenset({"window_size", "thresholds", "accept", "rank", "ranks", "group"})


def write_report(
    logs: "Sequence[Log]",
    path: str | os.PathLike[str],
    *,
    comparison: dict[str, Any] | None = None,
    again: int = 0,
    progress: "Progress | None" = None,
) -> None:
    """Writes the page of one log, or of several, as `Log.report` does; `comparison` and `again` as in `document`."""
    place = place_of(path)
    subjects = []
    before = 0
    for log in logs:
        counted = None if progress is None else lambda read, before=before: progress(before + read)
        subject = subject_of(log, progress=counted)
        # Runs may all be called "log", each in a folder of its own.
        alike = sum(other.path.name == log.path.name for other in logs) > 1
        subjects.append(dataclasses.replace(subject, name=str(log.path)) if alike else subject)
        before += log.nbytes
    made = f"{dt.datetime.now().astimezone():%Y-%m-%d %H:%M}"
    replace(place, document(subjects, comparison=comparison, made=made, again=again))


def place_of(path: str | os.PathLike[str]) -> Path:
    """Where a report is going to be: looked at before anything is read. A link stays, and what it leads to is written.

    Raises:
        ArgumentTypeError: it is no path.
        ArgumentValueError: there is something that is no file, or a part of a run; or the folder is not there.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise ArgumentTypeError(f"path: got {type(path).__name__}, want the path of a file")
    place = Path(os.path.realpath(path))
    if place.is_dir() or (os.path.lexists(path) and Path(path).exists() and not Path(path).is_file()):
        what = "a directory" if place.is_dir() else "a device or a pipe"
        raise ArgumentValueError(f"path: got {str(path)!r}, which is {what}, want the path of a file")
    if is_part_of_a_run(place.name):
        raise ArgumentValueError(f"path: got {str(path)!r}, which is a part of a run, want another name")
    if not place.parent.is_dir():
        raise ArgumentValueError(f"path: got {str(path)!r}, want a file in a directory that is there")
    return place


def replace(place: Path, text: str) -> None:
    """Writes a file so that a reader meets the old one or the new one, never a part."""
    number, draft = tempfile.mkstemp(prefix=f".{place.name[:40]}.", dir=place.parent)
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(draft, 0o666 & ~_umask())  # noqa: PTH101
        os.replace(draft, place)  # noqa: PTH105
    except BaseException:
        with suppress(OSError):
            os.unlink(draft)  # noqa: PTH108
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def subject_of(log: "Log", *, progress: "Progress | None" = None, **settings: Any) -> Subject:
    """What the page shows of a log. `settings` are `rank`, `thresholds`, `window_size` and `accept` of `diagnose`."""
    rank = settings.get("rank")
    diagnoser = log.diagnoser(**settings)
    layers, collector = log.numbers(rank), Collector(log.layers, is_loss)
    for block in log.read_blocks(rank, layers, progress, diagnoser):
        add_block(diagnoser, block, layers.infos)
        collector.add(layers.infos, block.layers, block.rows)
    diagnoser.unseen = log.unseen_of(rank)
    collection = collector.finish()
    facts = [("layers", f"{len(collection.layers):,}"), ("rows", f"{collection.taken:,}")]
    if collection.taken:
        facts.insert(0, ("steps", f"{collection.first:,} to {collection.last:,}"))
    if len(log.ranks) > 1:
        facts.append(("ranks", f"{len(log.ranks)}, merged" if rank is None else f"{rank} of {len(log.ranks)}"))
    facts += [(key, value) for key, value in log.metadata.items() if key not in _OWN]
    about = [f"The log is not whole: {line}." for line in log.warnings]
    about += [f"{line[:1].upper()}{line[1:]}." for line in log.notes]
    diagnosis = diagnoser.diagnose()
    sick = with_dead_neurons(diagnosis)
    neurons = log.neurons_of(sick, rank) if sick else ()
    name = log.path.name or str(log.path)
    return Subject(name, diagnosis, collection, diagnoser.thresholds, facts, about, neurons)
