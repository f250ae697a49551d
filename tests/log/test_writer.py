"""The writer as its user sees it: resuming, forks, closing, and what is refused."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from log_rows import LAYERS, expect, in_child, make, needs_fork, read, segment_of, segments, write

from fastact.errors import ArgumentTypeError, ArgumentValueError, LogError
from fastact.history import LayerInfo
from fastact.log import LogWriter, RunReader


def test_closing_ends_it(tmp_path: Path) -> None:
    with write(tmp_path, []) as writer:
        pass
    writer.close()
    assert writer.closed
    assert segment_of(tmp_path).suffix == ".arrows"
    assert read(tmp_path) == ([], [])
    assert RunReader(tmp_path).layers == LAYERS
    calls: list[Callable[[], object]] = [
        lambda: writer.append(make(0)),
        writer.flush,
        lambda: writer.add_layer(LAYERS[0]),
    ]
    for call in calls:
        with pytest.raises(LogError, match="is closed: open a new LogWriter"):
            call()


def test_places_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    for place in (file, file / "below", tmp_path / "nul\0"):
        with pytest.raises(LogError, match=r"cannot write a log into '.*want a writable directory"):
            LogWriter(place)
        with pytest.raises(LogError, match=r"cannot read the log '.*want a run's directory"):
            RunReader(place)
    with pytest.raises(LogError, match=r"no log in .*want a directory with segment"):
        RunReader(tmp_path)
    (tmp_path / "segment-000000.arrows").mkdir()
    with pytest.raises(LogError, match=r"nothing can be read .*not a regular file"):
        RunReader(tmp_path)


@needs_fork
def test_a_resumed_run_goes_on_in_new_segments(tmp_path: Path) -> None:
    rows = [make(step) for step in range(9)]
    write(tmp_path, rows[:3]).close()
    before = segments(tmp_path)[0].read_bytes()

    alive = []

    def killed() -> bool:
        writer = write(tmp_path, rows[3:6])
        alive.append(writer)  # a writer that is forgotten would close
        done = writer.flush()
        writer.append(make(99))  # never flushed
        return done

    in_child(killed)
    write(tmp_path, rows[6:], metadata={"again": "yes"}).close()
    names = [item.name for item in segments(tmp_path)]
    assert names == ["segment-000000.arrows", "segment-000001.live", "segment-000002.arrows"]
    assert (tmp_path / names[0]).read_bytes() == before
    assert read(tmp_path) == (
        expect(rows),
        ["segment-000001.live: it was never closed; rows that were not flushed are not in it"],
    )
    assert RunReader(tmp_path).metadata == {"again": "yes"}


@needs_fork
def test_a_forked_child_writes_nothing(tmp_path: Path) -> None:
    rows = [make(step) for step in range(4)]
    writer = write(tmp_path, rows[:2], batch_rows=4)
    assert writer.flush()
    writer.append(rows[2])

    def child() -> bool:
        for step in range(50, 60):
            writer.append(make(step))
        flushed = writer.flush()
        writer.close()
        with pytest.raises(LogError, match="is being written by process"):  # the parent's lock still holds
            LogWriter(tmp_path)
        return not flushed and writer.dropped == 10

    in_child(child)
    writer.append(rows[3])
    writer.close()
    assert read(tmp_path) == (expect(rows), [])


def test_a_writer_that_is_forgotten_closes_its_log(tmp_path: Path) -> None:
    writer = write(tmp_path, [make(0)])
    del writer
    assert segments(tmp_path)[0].suffix == ".arrows"
    write(tmp_path, [make(1)]).close()  # and its lock is gone
    program = "import sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path; from log_rows import *; "
    program += "writer = write(Path(sys.argv[1]), [make(2)])"
    subprocess.run([sys.executable, "-c", program, str(tmp_path), str(Path(__file__).parent)], check=True)
    assert read(tmp_path) == (expect(map(make, range(3))), [])


def test_bad_arguments_are_named(tmp_path: Path) -> None:
    bad: list[tuple[type[Exception], str, Callable[[], object]]] = [
        (ArgumentTypeError, "path: got 3", lambda: LogWriter(3)),  # type: ignore[arg-type]
        (ArgumentTypeError, "path: got ''", lambda: LogWriter("")),
        (ArgumentTypeError, "options: got dict", lambda: LogWriter(tmp_path, {})),  # type: ignore[arg-type]
        (ArgumentTypeError, "metadata: got list", lambda: LogWriter(tmp_path, metadata=[])),  # type: ignore[arg-type]
        (ArgumentTypeError, r"metadata\['a'\]: got int", lambda: LogWriter(tmp_path, metadata={"a": 1})),  # type: ignore[dict-item]
    ]
    writer = write(tmp_path, [])
    bad += [
        (ArgumentTypeError, "info: got str", lambda: writer.add_layer("a")),  # type: ignore[arg-type]
        (ArgumentValueError, r"info\.name: got .*surrogates", lambda: writer.add_layer(LayerInfo("\ud800", 5))),
        (ArgumentValueError, r"info\.name: got 5000 bytes", lambda: writer.add_layer(LayerInfo("x" * 5000, 5))),
        (ArgumentValueError, r"info\.order: got 5 for", lambda: writer.add_layer(LayerInfo("encoder.0", 5))),
        (ArgumentValueError, r"info\.order: got 0, which", lambda: writer.add_layer(LayerInfo("b", 0))),
        (ArgumentValueError, r"row: got layer 9", lambda: writer.append(make(0, 9))),
        (ArgumentValueError, r"row: got .*the 25 numbers", lambda: writer.append(make(0)[:-1])),
        (ArgumentValueError, r"row: got .*the 25 numbers", lambda: writer.append(("x", *make(0)[1:]))),
    ]
    for kind, message, call in bad:
        with pytest.raises(kind, match=message):
            call()
    writer.close()
    assert read(tmp_path) == ([], [])
    assert RunReader(tmp_path).layers == LAYERS
