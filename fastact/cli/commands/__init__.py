"""A file for each command; a function's docstring and annotations are its help and its options.

Each command imports what it needs when it runs, so `fastact --help` costs next to nothing. What a command returns is
the exit code; None is 0. To add one: a file here, and its function in `COMMANDS`.
"""

from collections.abc import Callable
from typing import Any, Final

from fastact.cli.commands.bench import bench
from fastact.cli.commands.cache import clear, show
from fastact.cli.commands.compact import compact
from fastact.cli.commands.compare import compare
from fastact.cli.commands.demo import demo
from fastact.cli.commands.diagnose import diagnose
from fastact.cli.commands.explain import explain
from fastact.cli.commands.export import export
from fastact.cli.commands.info import info
from fastact.cli.commands.layers import layers
from fastact.cli.commands.mcp import mcp
from fastact.cli.commands.neurons import neurons
from fastact.cli.commands.recover import recover
from fastact.cli.commands.replay import replay
from fastact.cli.commands.report import report
from fastact.cli.commands.schema import schema
from fastact.cli.commands.stats import stats
from fastact.cli.commands.tail import tail
from fastact.cli.commands.warmup import warmup

#: All commands, in the order in which `fastact --help` lists them.
COMMANDS: Final[tuple[Callable[..., Any], ...]] = (
    demo, diagnose, report, compare, explain, layers, neurons, replay, stats, export, recover, compact, tail, bench,
    info, schema, mcp, warmup,
)  # fmt: skip

#: Commands that belong together: their group's name, what it is about, and they.
GROUPS: Final[tuple[tuple[str, str, tuple[Callable[..., Any], ...]], ...]] = (
    ("cache", "The machine code that is kept on the disk, so that a start need not compile.", (clear, show)),
)
