"""What others may have put where fastact reads and writes: pipes, links, names at the end of all numbers."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastact
from fastact.errors import LogError
from fastact.opening import open_regular, untrusted

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on this platform")

#: Seconds after which what waits for a pipe counts as hung.
LIMIT = 300


def write(run: Path, steps: int = 20, options: fastact.LogOptions | None = None) -> None:
    with fastact.ActivationMonitor(run, log=options) as monitor:
        for _ in range(steps):
            monitor.record("a", np.ones((4, 4), np.float32))
            monitor.step()


def python(code: str, *arguments: str, **environment: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["segment-000000.arrows", "segment-000000.live", "segment-000000.thin"])
def test_a_pipe_for_a_segment_keeps_nobody_waiting(tmp_path: Path, name: str) -> None:
    run = tmp_path / "run"
    run.mkdir()
    os.mkfifo(run / name)
    code = """
import sys, warnings
import numpy as np, fastact
warnings.simplefilter("ignore")
options = fastact.LogOptions(keep_steps=5, merge_steps=2, batch_rows=8, segment_bytes=2000)
with fastact.ActivationMonitor(sys.argv[1], log=options) as monitor:
    for _ in range(60):
        monitor.record("a", np.ones((4, 4), np.float32))
        monitor.step()
        monitor.flush()
print(fastact.open_log(sys.argv[1]).to_table()["step"][-1])
"""
    assert int(python(code, str(run))) == 59


def test_a_link_for_the_lock_leaves_what_it_points_to_as_it_is(tmp_path: Path) -> None:
    run, precious = tmp_path / "run", tmp_path / "precious"
    run.mkdir()
    precious.write_text("precious")
    (run / "writer.lock").symlink_to(precious)
    with pytest.raises(LogError, match=r"cannot write a log into .*writer.lock"):
        fastact.ActivationMonitor(run)
    assert precious.read_text() == "precious"


def test_a_draft_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    run, precious = tmp_path / "run", tmp_path / "precious"
    precious.write_text("precious")
    options = fastact.LogOptions(keep_steps=5, merge_steps=2, batch_rows=8, segment_bytes=2000)
    write(run, 30, options)
    for number in range(20):
        (run / f"segment-{number:06d}.thin").symlink_to(precious)
    write(run, 60, options)
    assert precious.read_text() == "precious"


def test_a_segment_with_the_last_number_hides_nothing(tmp_path: Path) -> None:
    write(tmp_path / "run")
    (tmp_path / "run" / "segment-999999999999.arrows").write_bytes(b"")
    write(tmp_path / "run")
    assert [fastact.open_log(tmp_path / "run", session=k).to_table().num_rows for k in (0, 1)] == [20, 20]


def test_kills_before_the_first_batch_leave_nothing_for_ever(tmp_path: Path) -> None:
    code = "import os, sys, fastact; m = fastact.ActivationMonitor(sys.argv[1]); os.kill(os.getpid(), 9)"
    for _ in range(3):
        assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, timeout=LIMIT).returncode < 0
    assert len(list(tmp_path.glob("*.live"))) == 1
    write(tmp_path)
    assert [path.name for path in tmp_path.glob("segment-*")] == ["segment-000000.arrows"]
    assert fastact.open_log(tmp_path).to_table().num_rows == 20


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no users on this system")
def test_folders_are_trusted_where_nobody_else_may_exchange_them(tmp_path: Path) -> None:
    inner = tmp_path / "above" / "between" / "cache"
    inner.mkdir(parents=True)
    assert untrusted(inner) == ""
    for place in (inner, inner.parent, inner.parent.parent):
        for mode in (0o775, 0o757):
            place.chmod(mode)
            assert untrusted(inner) == f"{place} can be written by others than this user and root"
            place.chmod(0o755)
    inner.parent.chmod(0o1777)  # as /tmp is: nobody may rename what is another's
    assert untrusted(inner) == ""
    inner.chmod(0o1777)  # but anybody may add to it
    assert "can be written" in untrusted(inner)
    if os.geteuid() == 0:
        inner.chmod(0o755)
        os.chown(inner.parent, 12345, 0)
        assert untrusted(inner) == f"{inner.parent} belongs to another user"


def test_machine_code_below_a_folder_that_others_may_write_is_not_loaded(tmp_path: Path) -> None:
    code = "import numpy as np, fastact; print(fastact.summarize(np.ones(5, np.float32)).count)"
    shared = tmp_path / "shared"
    cache = shared / "cache"
    cache.mkdir(parents=True)
    assert python(code, FASTACT_CACHE_DIR=str(cache)).split() == ["5"]
    entries = list(cache.rglob("*.bin"))
    assert entries
    shared.chmod(0o777)
    told = python("import sys; from fastact.cpu.cache import cache; print(cache())", FASTACT_CACHE_DIR=str(cache))
    assert "can be written by others" in told
    for entry in entries:
        entry.write_bytes(pickle.dumps("not ours"))
    assert python(code, FASTACT_CACHE_DIR=str(cache)).split() == ["5"]
    assert all(entry.read_bytes() == pickle.dumps("not ours") for entry in entries)


def test_pipes_and_links_for_machine_code_are_no_machine_code(tmp_path: Path) -> None:
    code = "import numpy as np, fastact; print(fastact.summarize(np.ones(5, np.float32)).count)"
    python(code, FASTACT_CACHE_DIR=str(tmp_path))
    (entry,) = tmp_path.rglob("small-float32-*.bin")
    entry.rename(tmp_path / "elsewhere")
    for make in (os.mkfifo, lambda path: path.symlink_to(tmp_path / "elsewhere")):
        entry.unlink(missing_ok=True)
        make(entry)
        assert python(code, FASTACT_CACHE_DIR=str(tmp_path)).split() == ["5"]
        assert entry.is_file()  # compiled, and put into its place
        assert not entry.is_symlink()


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    os.close(open_regular(tmp_path / "link"))
    for path, follow in ((tmp_path / "pipe", True), (tmp_path, True), (tmp_path / "link", False)):
        with pytest.raises(OSError, match=r"regular file|symbolic links"):
            open_regular(path, follow=follow)
