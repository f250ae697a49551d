"""Exchanges with other ranks that fail: one rank tells it once, whenever it comes, and judges by itself then."""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import fastact


class Broken:
    """Rank 0 of two, whose other rank is gone when it is first asked for."""

    every, only_last, rank, ranks = 2, False, 0, 1

    def __init__(self) -> None:
        self.gone = threading.Event()

    def connect(self) -> None:
        self.ranks = 2

    def gather(self, part: Any) -> Sequence[Any] | None:
        self.gone.wait(300)
        raise ConnectionError("closed by peer")

    def broadcast(self, message: Any) -> Any:
        return message


def exchanges() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "fastact-gather"]


def train(gather: Broken, when: str) -> list[str]:
    """The conditions that are told."""
    before, told = set(exchanges()), []
    with fastact.ActivationMonitor(gather=gather, on_finding=lambda finding: told.append(finding.condition)) as monitor:
        for step in range(2 if when == "at the end" else 20):
            monitor.record("act", np.full((8, 4), np.nan if step > 8 else step, np.float32), axis=1)
            if step == 3 and when == "while it is waited for":
                gather.gone.set()
            monitor.step()
            if step == 1 and when != "while it is waited for":
                gather.gone.set()
                for thread in set(exchanges()) - before:
                    thread.join(300)
    return told


@pytest.mark.parametrize("when", ["at once", "while it is waited for", "at the end"])
def test_a_failure_is_told_once_whenever_it_comes(when: str) -> None:
    with pytest.warns(RuntimeWarning) as caught:
        told = train(Broken(), when)
    (warned,) = (str(each.message) for each in caught)
    assert "each is judged by itself: ConnectionError: closed by peer" in warned
    assert told == ([] if when == "at the end" else ["non_finite"])
