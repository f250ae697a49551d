"""Exchanges with other ranks that fail, as seen by one rank: told once, whenever it comes, and each is by itself then."""

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


@pytest.mark.parametrize("when", ["at once", "before the next exchange", "at the end"])
def test_a_failure_is_told_once_whenever_it_comes(when: str) -> None:
    before, gather, told = set(exchanges()), Broken(), []
    with pytest.warns(RuntimeWarning) as caught:
        with fastact.ActivationMonitor(gather=gather, on_finding=told.append) as monitor:
            for step in range(2 if when == "at the end" else 20):
                monitor.record("act", np.full((8, 4), np.nan if step > 8 else step, np.float32), axis=1)
                if step == 3 and when == "before the next exchange":
                    gather.gone.set()  # as this step ends, it is waited for
                monitor.step()
                if step == 1 and when != "before the next exchange":
                    gather.gone.set()
                    for thread in set(exchanges()) - before:
                        thread.join(300)
    (warned,) = (str(each.message) for each in caught)
    assert "each is judged by itself: ConnectionError: closed by peer" in warned
    assert [finding.condition for finding in told] == ([] if when == "at the end" else ["non_finite"])
