"""A file for each command; a function's docstring and annotations are its help and its options.

Each command imports what it needs when it runs, so `fastact --help` costs next to nothing. What a command returns is
the exit code; None is 0. To add one: a file here, and its function in `COMMANDS`.
"""

from collections.abc import Callable
from typing import Any, Final

from fastact.cli.commands import (
    bench,
    demo,
    diagnose,
    explain,
    export,
    info,
    layers,
    recover,
    replay,
    stats,
    tail,
    warmup,
)

__all__ = ["COMMANDS"]

#: All commands, in the order in which `fastact --help` lists them.
COMMANDS: Final[tuple[Callable[..., Any], ...]] = (
    demo.demo,
    diagnose.diagnose,
    explain.explain,
    layers.layers,
    replay.replay,
    stats.stats,
    export.export,
    recover.recover,
    tail.tail,
    bench.bench,
    info.info,
    warmup.warmup,
)
