"""`bench.scale`: what it times does what it says, at sizes of a few."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.scale import exponent
from bench.scale_cases import CASES, measure, sizes_of
from bench.tables import scale_table


def test_the_exponent_is_that_of_the_growth() -> None:
    sizes = [10, 20, 40, 80]
    for power in (0.0, 1.0, 2.0):
        assert exponent(sizes, [3e-4 * size**power for size in sizes]) == pytest.approx(power)


@pytest.mark.parametrize("name", sorted(set(CASES) - {"ranks", "many-ranks"}))
def test_a_case_runs_small(name: str, tmp_path: Path) -> None:
    case, size = CASES[name], 8 if CASES[name].sizes[-1] < 1_000_000 else 6000
    if case.make is not None:
        case.make(tmp_path / str(size), size)
    assert measure(name, size, tmp_path / str(size))["seconds"] > 0.0


def test_ranks_are_read_under_the_limit_of_a_process_of_its_own(tmp_path: Path) -> None:
    case = CASES["ranks"]
    assert case.make is not None
    case.make(tmp_path, 3)
    command = [sys.executable, "-m", "bench.scale_cases", "ranks", "3", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert set(json.loads(done.stdout)) == {"seconds", "megabytes"}


def test_sizes_and_the_table() -> None:
    assert list(sizes_of(CASES["last"], 0.001)) == [2500, 5000, 10_000, 20_000]
    found = [{"size": size, "seconds": size / 1e4, "megabytes": 10.0} for size in (100, 200)]
    row = {"what": "ranks", "target": (6.0, 600.0), "exponent": 1.0, "sizes": found}
    (cells,) = scale_table({"rows": [row]}).rows
    assert cells == ["ranks", "100", "10.0 ms", "200", "20.0 ms", "10", "6.00 s, 600 MB", "1.00"]
