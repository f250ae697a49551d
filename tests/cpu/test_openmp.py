"""Sweeps by the OpenMP threads that torch computes with, real ones and others."""

import ctypes
import sys
from pathlib import Path

import numpy as np
import pytest
from interpreter import python

import fastact
from fastact import summarize
from fastact.cpu.openmp import Team

#: Shapes and neurons' axes of tensors that a team shares: rows, a rest of rows beside each other, images, many tasks.
SHARED = [((768, 512), 1), ((100_003, 3), 1), ((8, 64, 32, 32), 1), ((64, 16, 64, 64), 1), ((3000, 1500), -1)]


@pytest.mark.parametrize(("shape", "axis"), SHARED)
@pytest.mark.parametrize("come", [1, 2, 5])
def test_a_team_of_any_size_gives_the_answer_of_one_thread(
    threads: None, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], axis: int, come: int
) -> None:
    import torch

    fastact.set_num_threads(3)
    x = torch.from_numpy(np.random.default_rng(0).standard_normal(shape).astype(np.float32))
    x.reshape(-1)[7::1000] = torch.nan
    want = summarize(x.numpy(), axis=axis)
    summarize(x, axis=axis)  # the kind of tensor is known from now on
    places: list[int] = []
    asked: list[int] = []

    def fork(function: int, data: int, number: int, flags: int) -> None:
        asked.append(number)
        for place in range(come):
            places.append(place)
            ctypes.CFUNCTYPE(None, ctypes.c_void_p)(function)(data)

    functions = (
        ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)(fork),
        ctypes.CFUNCTYPE(ctypes.c_int)(lambda: places[-1]),
        ctypes.CFUNCTYPE(ctypes.c_int)(lambda: come),
    )
    calls, place, size = (ctypes.cast(function, ctypes.c_void_p).value or 0 for function in functions)
    monkeypatch.setattr("fastact.cpu.openmp._team", [Team(calls, place, size, lambda: 2)])
    assert summarize(x, axis=axis) == want
    assert asked == [2]
    assert places == list(range(come))


def test_a_team_is_asked_for_what_is_worth_it_alone(threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    small, large = torch.ones(16, 16), torch.ones(768, 512)
    want = [summarize(x.numpy(), axis=1) for x in (small, large)]
    assert summarize(small, axis=1) == want[0]
    monkeypatch.setattr("fastact.cpu.openmp._team", [Team(1, 1, 1, lambda: 2)])  # calling that would crash
    assert summarize(small, axis=1) == want[0]
    fastact.set_num_threads(1)
    assert summarize(large, axis=1) == want[1]
    fastact.set_num_threads(2)
    monkeypatch.setattr("fastact.cpu.openmp._team", [Team(1, 1, 1, lambda: 1)])
    assert summarize(large, axis=1) == want[1]


def test_torchs_own_team(tmp_path: Path) -> None:
    code = """
import os, threading, torch, fastact
from fastact.cpu.openmp import torch_team
torch.set_num_threads(2)
fastact.set_num_threads(2)
x = torch.randn(768, 512)
want = fastact.summarize(x.numpy(), axis=1)
same = []
def sweep():
    for _ in range(50):
        y = x @ torch.eye(512)
        same.append(fastact.summarize(y, axis=1) == want)
others = [threading.Thread(target=sweep) for _ in range(3)]
for other in others: other.start()
sweep()
for other in others: other.join()
assert all(same) and len(same) == 200
if hasattr(os, "fork"):  # in a child there is no such team, and whoever calls it waits for ever
    child = os.fork()
    if child == 0:
        os._exit(0 if fastact.summarize(x, axis=1) == want and torch_team() is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print(torch_team() is not None)
"""
    found = python(code, tmp_path, PYTHONWARNINGS="error,ignore::DeprecationWarning")
    assert found == str(sys.platform == "linux")
