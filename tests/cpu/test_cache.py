"""The machine code on disk: used when it is right, healed when it is damaged, never trusted when others could write it.

Every check starts real processes, with a cache folder of their own.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fastact
from fastact.arithmetic.element_types import ELEMENT_TYPES
from fastact.cpu.cache import cache as cache_of_this_process
from fastact.opening import others_may_write

CHECK = """
import numpy as np, fastact
x = np.concatenate([np.arange(20.0), [np.nan, np.inf]]).astype(np.float32)
s = fastact.summarize(x)
assert (s.count, s.nans, s.pos_infs, s.zeros, s.min, s.max) == (22, 1, 1, 1, 0.0, 19.0), s
assert abs(s.mean - 9.5) < 1e-6 and abs(s.std - np.arange(20.0).std()) < 1e-6
print("fine")
"""

#: Everything that has an entry point for float32, and what a start from disk must not load.
ALL = """
import sys, numpy as np, fastact
from fastact.cpu.warmup import warmup
x = np.arange(1_200_000, dtype=np.float32)
assert fastact.summarize(x[:10]).mean == 4.5
assert fastact.summarize(x).max == 1_199_999
columns = fastact.summarize(x.reshape(-1, 100), axis=-1)
runs = fastact.summarize(x.reshape(30, 40, 1000), axis=1)
assert columns.max[-1] == 1_199_999 and runs.max[-1] == 1_199_999
silence = np.zeros(100, np.int64)
as_arrays = columns.numbers(saturated_share=0.5, silence=silence, weight=1, dead_after=1)
in_memory = fastact.summarize(x.reshape(-1, 100), axis=-1).numbers(0.5, np.zeros(100, np.int64), 1, 1)
assert as_arrays[0] == in_memory[0] == x.size
assert fastact.summarize(x, extras=["shape", "exponents", "quantiles", "outliers"]).count == x.size
warmup("float32")
print(*sorted({"scipy.linalg", "numba.np.arraymath", "pyarrow", "torch", "numba.cuda"}.intersection(sys.modules)))
"""


def start(code: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "FASTACT_CACHE_DIR": str(folder), "PYTHONWARNINGS": "error", **environment}
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=variables,
        cwd=folder.parent,  # not where the package lies: "-c" looks there first
        timeout=500,
        check=False,
    )


def python(code: str, folder: Path, **environment: str) -> str:
    """Runs `code` in a fresh interpreter with the cache folder `folder`; returns what it printed."""
    done = start(code, folder, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.bin"))


def stamps(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in files(folder)}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that `fastact warmup` filled for float32."""
    folder = tmp_path_factory.mktemp("built")
    done = subprocess.run(
        [sys.executable, "-m", "fastact", "warmup", "--dtype", "float32"],
        capture_output=True,
        text=True,
        env={**os.environ, "FASTACT_CACHE_DIR": str(folder)},
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"{len(files(folder))} entry points compiled" in done.stdout.replace("\n", " ")
    return folder


@pytest.fixture
def warm(built: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(built, tmp_path / "warm"))


def test_after_warmup_nothing_is_compiled(warm: Path) -> None:
    """Nor is the compiler made ready: what it needs beyond the machine code is most of the time of a start."""
    before = stamps(warm)
    assert python(ALL, warm) == ""
    assert stamps(warm) == before


def test_code_that_several_processes_have_made_is_not_mixed_up(tmp_path: Path) -> None:
    """Numba numbers functions process by process, and machine code is found by names that hold these numbers."""
    one = "import numpy as np, fastact; fastact.summarize(np.ones((300, 40), {!r}), axis=1)"
    for kind in ("int8", "float32"):  # what each compiles first has the same number
        python(one.format(kind), tmp_path)
    both = """
import numpy as np, fastact
for kind, neurons in (("float32", 40), ("int8", 40), ("float32", 30), ("int8", 30)):
    x = (np.arange(12_000) % 97).astype(kind).reshape(-1, neurons)
    found = fastact.summarize(x, axis=1)
    assert (found.max == x.max(0)).all() and np.allclose(found.mean, x.mean(0, dtype=float)), kind
print("fine")
"""
    before = stamps(tmp_path)
    assert python(both, tmp_path) == "fine"
    assert stamps(tmp_path) == before


def test_the_compiler_loads_what_the_start_from_disk_does_not(tmp_path: Path) -> None:
    code = CHECK + "import sys; print('numba.np.arraymath' in sys.modules)"
    assert python(code, tmp_path).split() == ["fine", "True"]
    assert python(code, tmp_path).split() == ["fine", "False"]


def test_warmup_refuses(tmp_path: Path) -> None:
    def warmup(*arguments: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "fastact", "warmup", *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, "FASTACT_CACHE_DIR": str(tmp_path / "cache"), **environment},
            timeout=500,
            check=False,
        )
        assert done.returncode == 2
        assert not done.stdout
        return done.stderr

    words = warmup("--dtype", "complex64")
    assert all(name in words for name in ("dtype", "complex64", *ELEMENT_TYPES))
    assert "NUMBA_DISABLE_JIT" in warmup("--dtype", "float32", NUMBA_DISABLE_JIT="1")
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert "cannot be kept" in warmup("--dtype", "float32")


def test_info_tells_of_the_cache(warm: Path) -> None:
    code = "import sys; sys.argv = ['fastact', 'info']; from fastact.cli.app import main; main()"
    out = python(code, warm)
    assert f"{len(files(warm))} entry points" in out
    assert str(files(warm)[0].parent) in "".join(out.replace("│", "").split())  # a long path goes over two lines
    files(warm)[0].parent.chmod(0o777)
    assert "not kept" in python(code, warm)


def test_damage_is_healed(warm: Path) -> None:
    (path,) = warm.rglob("small-float32-*.bin")
    whole = path.read_bytes()
    for damage in (lambda data: b"", lambda data: data[:-10], lambda data: data[:40] + b"?" + data[41:]):
        path.write_bytes(damage(whole))
        assert python(CHECK, warm) == "fine"
        healed = path.read_bytes()
        assert len(healed) > 10_000
        assert hashlib.sha256(healed[32:]).digest() == healed[:32]


READ_ONLY = """
import os, numpy as np, numpy.ma, fastact, fastact.stats.summarize
if os.geteuid() == 0:
    os.seteuid(65534)  # root may write everywhere
try:
    open({folder!r} + "/probe", "w")
except PermissionError:
    print("read-only")
"""


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no users on this system")
def test_a_read_only_folder_that_is_warm_is_used(warm: Path) -> None:
    """As in a container image: built by root, run by another user."""
    folder = files(warm)[0].parent
    assert folder.stat().st_mode & 0o755 == 0o755
    assert all(path.stat().st_mode & 0o644 == 0o644 for path in files(warm))
    before = stamps(warm)
    for parent in (folder, *list(folder.parents)[:-1]):  # pytest's own folders admit no other user
        if parent.stat().st_uid == os.geteuid():
            parent.chmod(parent.stat().st_mode | 0o055)
    folder.chmod(0o555)
    code = READ_ONLY.format(folder=str(folder)) + CHECK + "import sys; print('numba.np.arraymath' in sys.modules)"
    try:
        assert python(code, warm).split() == ["read-only", "fine", "False"]
    finally:
        folder.chmod(0o755)
    assert stamps(warm) == before


def test_whose_folders_are_trusted() -> None:
    if not hasattr(os, "geteuid"):
        pytest.skip("no users on this system")
    me = os.geteuid()

    def trusted(uid: int, mode: int) -> bool:
        return not others_may_write(os.stat_result((mode, 0, 0, 1, uid, 0, 0, 0, 0, 0)))

    assert trusted(me, 0o40700)
    assert trusted(me, 0o40755)
    assert trusted(0, 0o40755)
    assert not trusted(me + 1, 0o40755)
    assert not trusted(me, 0o40775)
    assert not trusted(0, 0o40757)


@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_others_may_write_is_not_trusted(warm: Path, what: str) -> None:
    (path,) = warm.rglob("small-float32-*.bin")
    if what == "folder":
        path.parent.chmod(0o777)
        path.write_bytes(b"evil")
        assert python(CHECK, warm) == "fine"
        assert path.read_bytes() == b"evil"  # left alone
    else:
        path.chmod(0o666)
        assert python(CHECK, warm) == "fine"
        assert path.stat().st_mode & 0o022 == 0  # compiled afresh


def test_no_folder_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert python(CHECK, tmp_path / "cache") == "fine"


def test_processes_that_start_at_once(tmp_path: Path) -> None:
    variables = {**os.environ, "FASTACT_CACHE_DIR": str(tmp_path)}
    running = [subprocess.Popen([sys.executable, "-c", CHECK], env=variables, stdout=subprocess.PIPE) for _ in range(3)]
    for process in running:
        out, _ = process.communicate(timeout=500)
        assert process.returncode == 0
        assert out.strip() == b"fine"
    before = stamps(tmp_path)
    assert len(before) == 1
    assert python(CHECK, tmp_path) == "fine"
    assert stamps(tmp_path) == before
    assert not list(tmp_path.rglob("*.tmp"))


def test_different_processors_share_a_folder(warm: Path) -> None:
    before = stamps(warm)
    other = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    assert python(CHECK, warm, **other) == "fine"
    both = stamps(warm)
    assert len(both) == len(before) + 1
    assert python(CHECK, warm, **other) == python(CHECK, warm) == "fine"
    assert stamps(warm) == both


def test_settings_of_numba_that_change_the_code(warm: Path) -> None:
    before = len(files(warm))
    assert python(CHECK, warm, NUMBA_OPT="0") == "fine"
    assert len(files(warm)) == before + 1


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the package, to be edited."""
    package = tmp_path / "copy" / "fastact"
    shutil.copytree(Path(fastact.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__", "prebuilt"))
    return package


FIND, REPLACE = "(abs(x) <= near)", "(abs(x) >= near)"


def test_code_of_other_sources_is_not_used(copied: Path, tmp_path: Path) -> None:
    """The folder's name follows the sources: an edit anywhere in the package, callees included, compiles afresh."""
    code = "import numpy as np, fastact; print(fastact.summarize(np.ones(10)).zeros, fastact.__file__)"
    out = python(code, tmp_path, PYTHONPATH=str(copied.parent))
    assert out.split()[0] == "0"
    assert str(copied) in out
    source = copied / "cpu" / "flat.py"
    text = source.read_text()
    assert FIND in text
    source.write_text(text.replace(FIND, REPLACE))
    assert python(code, tmp_path, PYTHONPATH=str(copied.parent)).split()[0] == "10"


def test_an_upgrade_under_a_running_process(copied: Path, tmp_path: Path) -> None:
    """Its old code must not get the name of the new sources."""
    code = f"""
import pathlib, numpy as np, fastact, fastact.stats.summarize
source = pathlib.Path({str(copied / "cpu" / "flat.py")!r})
source.write_text(source.read_text().replace({FIND!r}, {REPLACE!r}))
print(fastact.summarize(np.ones(10)).zeros)
"""
    assert python(code, tmp_path, PYTHONPATH=str(copied.parent)) == "0"
    after = "import numpy as np, fastact; print(fastact.summarize(np.ones(10)).zeros)"
    assert python(after, tmp_path, PYTHONPATH=str(copied.parent)) == "10"
    assert len(files(tmp_path)) == 1  # the new one's


def test_what_is_left_behind_is_removed_and_nothing_else(tmp_path: Path) -> None:
    home = tmp_path / "fastact"
    old = time.time() - 60 * 86400
    names = ("0" * 16, "1" * 16, "2" * 16, "notes")
    for name in names:
        (home / name).mkdir(parents=True)
        (home / name / "small.bin").write_bytes(b"?")
    (home / names[1] / "letter.txt").write_text("not ours")
    for name in (names[0], names[1], "notes"):
        os.utime(home / name, (old, old))
    code = CHECK + "from fastact.cpu.cache import cache; print(cache().folder)"
    folder = Path(python(code, tmp_path).split()[1])
    assert {path.name for path in home.iterdir()} == {*names[1:], folder.name}  # an old one is gone
    assert [path.name for path in (home / names[1]).iterdir()] == ["letter.txt"]
    assert (home / names[2] / "small.bin").exists()
    assert (home / "notes" / "small.bin").exists()

    # A crash while writing: the draft goes with the next write, unless it may still be somebody's.
    dead, alive = folder / "small-a.tmp", folder / "small-b.tmp"
    for path in (dead, alive):
        path.write_bytes(b"?")
    os.utime(dead, (old, old))
    files(folder)[0].unlink()
    os.utime(folder, (old, old))
    assert python(CHECK, tmp_path) == "fine"
    assert not dead.exists()
    assert alive.exists()
    # A folder in use does not grow old.
    os.utime(folder, (old, old))
    assert python(CHECK, tmp_path) == "fine"
    assert folder.stat().st_mtime > old + 86400


def test_this_process_has_a_cache_or_says_why_not() -> None:
    folder, problem, _ = cache_of_this_process()
    assert (folder is None) == bool(problem)


HOSTILE = """
import os, pickle

class Hostile:
    def __reduce__(self):
        return os.mkdir, ({trace!r},)

print(pickle.dumps(("key", Hostile())).hex())
"""


def test_nothing_is_unpickled(warm: Path, tmp_path: Path) -> None:
    """Whoever can put a file there, root's mistake or ours, gets machine code compiled afresh and nothing run."""
    no_pickle = "import pickle\ndef refuse(*_): raise SystemExit('unpickled')\npickle.loads = pickle.load = refuse\n"
    before = stamps(warm)
    assert python(no_pickle + CHECK, warm) == "fine"
    assert stamps(warm) == before
    (path,) = warm.rglob("small-float32-*.bin")
    trace = tmp_path / "trace"
    payload = bytes.fromhex(python(HOSTILE.format(trace=str(trace)), warm))
    path.write_bytes(hashlib.sha256(payload).digest() + payload)
    assert python(CHECK, warm) == "fine"
    assert not trace.exists()
    assert b'"key": ' in path.read_bytes()[:200]


def test_fields_of_another_kernel_are_not_taken_for_this_one(warm: Path) -> None:
    (small,) = warm.rglob("small-float32-*.bin")
    (parts,) = warm.rglob("parts-float32-*.bin")
    whole = small.read_bytes()
    small.write_bytes(parts.read_bytes())
    assert python(CHECK, warm) == "fine"
    assert b"small-float32" in small.read_bytes()[:200]
    assert b"small-float32" in whole[:200]
