"""Holds signals back while LLVM works: an exception in the middle of its Python side leaves memory that is freed twice.

Python runs handlers in the main thread, between any two lines of Python, those of llvmlite too; Ctrl-C raises there.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final

#: The signals that end or interrupt programs, which handlers turn into exceptions, and the timers.
_SIGNALS: Final = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF",
                 "SIGBREAK")
    if hasattr(signal, name)
]  # fmt: skip


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Within, handlers written in Python wait; those whose signals came run at the end, in the order of their coming.

    In other threads than the main one no handler ever runs, and nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    holding = True
    came: dict[int, FrameType | None] = {}
    handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}

    def hold(number: int, frame: FrameType | None) -> None:
        # A handler that raises while others are put back leaves those for this one to call.
        if holding:
            came.setdefault(number, frame)
        else:
            handlers[number](number, frame)

    try:
        try:
            for each in _SIGNALS:
                if callable(handler := signal.getsignal(each)):
                    handlers[each] = handler
                    signal.signal(each, hold)
        except ValueError:  # the main thread of a subinterpreter, where no handler runs either
            handlers.clear()
        yield
    finally:
        try:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        finally:
            holding = False
            with contextlib.ExitStack() as waiting:  # each is called, even where one raises
                for number, frame in reversed(came.items()):
                    waiting.callback(handlers[number], number, frame)
