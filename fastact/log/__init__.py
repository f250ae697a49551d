"""The log: a directory of Arrow IPC stream segments, one row for each layer in each step.

`writer` appends, `reader` reads what is whole, `schema` says what a segment holds, `frames` finds the whole messages
in damaged bytes.
"""

from fastact.log.reader import RunReader
from fastact.log.writer import LogWriter

__all__ = ["LogWriter", "RunReader"]
