"""Signals wait while LLVM works, and none is lost."""

import signal
import threading
from types import FrameType
from typing import Any

import pytest

from fastact.cpu import jit
from fastact.cpu.bit_sum import bits_kernel
from fastact.cpu.held import signals_held
from fastact.cpu.objects import Loaded, load

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no signals of the user's on this platform")


def test_an_interrupt_waits_for_the_end() -> None:
    done = []

    def work() -> None:
        with signals_held():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            done.append("all of it")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["all of it"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_each_handler_is_called_even_where_one_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []

    def handler(number: int, frame: FrameType | None) -> None:
        del frame
        called.append(number)

    def work() -> None:
        with signals_held(), signals_held():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGUSR1)
            assert called == []

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            work()
        assert called == [signal.SIGUSR1]
        assert signal.getsignal(signal.SIGUSR1) is handler

        # A signal that comes while handlers are put back: what raises there leaves the others as good as they were.
        put_back = signal.signal

        def interrupted(number: int, which: object) -> object:
            found = put_back(number, which)  # type: ignore[arg-type]
            if which is signal.default_int_handler:
                raise KeyboardInterrupt
            return found

        with pytest.raises(KeyboardInterrupt), signals_held():
            monkeypatch.setattr("signal.signal", interrupted)
        monkeypatch.undo()
        signal.raise_signal(signal.SIGUSR1)
        assert called == [signal.SIGUSR1] * 2
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_what_fails_and_what_another_thread_does_are_as_they_were() -> None:
    with pytest.raises(ZeroDivisionError), signals_held():
        _ = 1 // 0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    seen = []

    def work() -> None:
        with signals_held():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


def test_where_no_handler_may_be_set_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(number: int, handler: object) -> None:
        raise ValueError("signal only works in main thread of the main interpreter")

    monkeypatch.setattr(signal, "signal", refuse)
    with signals_held():
        monkeypatch.undo()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.skipif(not jit.COMPILED, reason="nothing is compiled")
def test_machine_code_is_loaded_before_an_interrupt_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    bits_kernel(4)  # what is loaded below is on the disk
    loaded = []

    def interrupted(*args: Any) -> Loaded:
        signal.raise_signal(signal.SIGINT)
        loaded.append(load(*args))
        return loaded[-1]

    monkeypatch.setattr(jit, "load", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bits_kernel.__wrapped__(4)
    assert len(loaded) == 1
