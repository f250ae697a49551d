"""Many ranks with few open files: what is read is all of it, and what cannot be read is an error by its name."""

import json
import os
import resource
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from replay_runs import rows_of_a_sick_run, write

from fastact.errors import LogError
from fastact.log.sparing import MOST_OPEN, SparingFile
from fastact.replay.log import open_log

_RANKS = 70

#: A process of its own: the limit holds for all that it does. Everything is imported before descriptors are few.
_SCRIPT = """
import json, os, resource, sys
import fastact
from fastact.errors import LogError
def look():
    try:
        log = fastact.open_log(sys.argv[2])
        return [[f.layer, f.condition] for f in log.diagnose().findings], len(log.ranks), log.warnings
    except (LogError, OSError) as error:
        return str(error)
fastact.open_log(sys.argv[1]).diagnose()
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
few = look()
held = []
try:
    while True:
        held.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    none = look()
for each in held:
    os.close(each)
print(json.dumps([few, none]))
"""


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    rows = rows_of_a_sick_run(40)
    healthy = [(info, row) for info, row in rows if info.name != "head" or row[0] < 20]
    write(folder / "all" / "rank-00000", healthy)
    for rank in range(1, _RANKS):
        shutil.copytree(folder / "all" / "rank-00000", folder / "all" / f"rank-{rank:05d}")
    shutil.rmtree(folder / "all" / "rank-00047")
    write(folder / "all" / "rank-00047", rows)
    for rank in (0, 47):
        shutil.copytree(folder / "all" / f"rank-{rank:05d}", folder / "warm" / f"rank-{rank:05d}")
    return folder


def test_one_sick_rank_of_many_is_found_with_few_descriptors_and_none_is_called_healthy(ranks: Path) -> None:
    command = [sys.executable, "-c", _SCRIPT, str(ranks / "warm"), str(ranks / "all")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (findings, count, warnings), none = json.loads(done.stdout)
    assert ["head", "non_finite"] in findings
    assert (count, warnings) == (_RANKS, [])
    assert "Too many open files" in none


def test_few_files_are_open_at_a_time(tmp_path: Path) -> None:
    paths = [tmp_path / str(i) for i in range(3 * MOST_OPEN)]
    for i, path in enumerate(paths):
        path.write_bytes(bytes([i, i + 1]))
    files = [SparingFile(path) for path in paths]
    try:
        assert [file.read(1)[0] for file in files] == list(range(len(paths)))
        opened = _opened() & {str(path) for path in paths}
        assert len(opened) == MOST_OPEN
        assert [file.read(1)[0] for file in files] == list(range(1, len(paths) + 1))
        replaced = next(path for path in paths if str(path) not in _opened())
        replaced.rename(tmp_path / "away")
        replaced.write_bytes(b"other")
        with pytest.raises(OSError, match="replaced"):
            files[paths.index(replaced)].read(1)
    finally:
        for file in files:
            file.close()
    assert not _opened() & {str(path) for path in paths}


def _opened() -> set[str]:
    """The files that this process has open."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the descriptor that the folder was read by
            found.add(str(link.readlink()))
    return found


def test_an_opened_log_whose_folder_is_gone_says_so(tmp_path: Path) -> None:
    for rank in range(2):
        write(tmp_path / f"rank-{rank:05d}", rows_of_a_sick_run(4))
    log = open_log(tmp_path)
    shutil.rmtree(tmp_path / "rank-00001")
    log.diagnose()
    assert any("rank-00001" in line for line in log.warnings), log.warnings


def test_a_limit_reached_while_opening_is_an_error(tmp_path: Path) -> None:
    for rank in range(2):
        write(tmp_path / f"rank-{rank:05d}", rows_of_a_sick_run(4))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        while True:
            held.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        with pytest.raises(LogError, match="Too many open files"):
            open_log(tmp_path)
    finally:
        for each in held:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
