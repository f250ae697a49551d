"""Says what is going on where compiling takes longer than a second: one line, once a process."""

import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import Final

#: Seconds of silence.
_PATIENCE: Final = 1.0
_LOGGER: Final = logging.getLogger("fastact")
_said: list[None] = []


def _say() -> None:
    if not _said:
        _said.append(None)
        _LOGGER.warning(
            "fastact compiles its sweeps for this CPU: some 5 to 20 s, once, then they are kept (`fastact info` says"
            " where). `fastact warmup` does it ahead; the wheels for x86-64-v3, v4 and arm64 bring them along."
        )


@contextlib.contextmanager
def noticed() -> Iterator[None]:
    """Logs a warning while what is within takes longer than a second; without a handler it goes to stderr."""
    timer = threading.Timer(_PATIENCE, _say)
    timer.daemon = True
    with contextlib.suppress(RuntimeError):  # no thread is left, or the interpreter is ending
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
