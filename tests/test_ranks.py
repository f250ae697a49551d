"""Which rank a process is, and where it writes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastact
from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.ranks import Place, checked_place, folder_of, place_of_process


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({}, Place()),
        ({"RANK": "1", "WORLD_SIZE": "2"}, Place(1, 2)),
        ({"RANK": "1"}, Place()),  # of how many?
        ({"RANK": "2", "WORLD_SIZE": "2"}, Place()),  # there is no such rank
        ({"RANK": "x", "WORLD_SIZE": "2"}, Place()),
        ({"RANK": "0", "WORLD_SIZE": "1", "SLURM_PROCID": "3", "SLURM_NTASKS": "4"}, Place()),
        ({"OMPI_COMM_WORLD_RANK": "5", "OMPI_COMM_WORLD_SIZE": "16"}, Place(5, 16)),
        ({"PMI_RANK": "5", "PMI_SIZE": "16"}, Place(5, 16)),
        ({"SLURM_PROCID": "7", "SLURM_NTASKS": "8", "SLURM_JOB_NAME": "train"}, Place(7, 8)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "1"}, Place()),  # sbatch without srun
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_NAME": "interactive"}, Place()),
    ],
)
def test_the_environment_tells_the_rank(environment: dict[str, str], place: Place) -> None:
    assert place_of_process(environment) == place


def test_what_is_given_counts_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert checked_place(None, None) == Place(1, 2)
    assert checked_place(0, None) == Place(0, 2)
    assert checked_place(3, 4) == Place(3, 4)
    assert checked_place(0, 1) == Place()


@pytest.mark.parametrize(("rank", "ranks"), [(-1, 2), (2, 2), (None, 2), (0, 0), (10**9, None)])
def test_ranks_that_do_not_exist_are_refused(rank: Any, ranks: Any) -> None:
    with pytest.raises(ArgumentValueError, match="rank"):
        checked_place(rank, ranks)
    with pytest.raises(ArgumentTypeError, match="rank"):
        checked_place("0", ranks)


def test_a_folder_that_is_a_rank_s_already_stays() -> None:
    assert folder_of("runs/rank-00001", Place(1, 2)) == "runs/rank-00001"
    assert folder_of("runs/rank-00001/", Place(1, 2)) == "runs/rank-00001/"
    assert folder_of(Path("runs"), Place(12, 20)) == "runs/rank-00012"
    assert folder_of("/", Place(1, 2)) == "/rank-00001"


def test_one_path_serves_all_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monitors = []
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "2")
        monitors.append(fastact.ActivationMonitor(tmp_path / "run"))
    for rank, monitor in enumerate(monitors):
        monitor.record("act", np.full(4, rank))
        monitor.close()
        assert monitor.path == tmp_path / "run" / f"rank-{rank:05d}"
    log = fastact.open_log(tmp_path / "run")
    assert log.ranks == (0, 1)
    assert log.aggregate("rank")[1].mean == 1.0
    assert log.runs[1].metadata["rank"] == "1"
    assert log.runs[1].metadata["ranks"] == "2"
