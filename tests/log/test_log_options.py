"""Options of a log: each is checked by name."""

from typing import Any

import numpy as np
import pytest

from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.log import LogOptions


def test_bad_options_are_named() -> None:
    bad: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (ArgumentValueError, "batch_rows: got 0", {"batch_rows": 0}),
        (ArgumentTypeError, "batch_rows: got float", {"batch_rows": 2.0}),
        (ArgumentTypeError, "flush_seconds: got str", {"flush_seconds": "1"}),
        (ArgumentValueError, "flush_seconds: got nan", {"flush_seconds": np.nan}),
        (ArgumentValueError, "buffer_rows: got 0", {"buffer_rows": 0}),
        (ArgumentValueError, "durability: got 'both'", {"durability": "both"}),
        (ArgumentValueError, "compression: got 'gzip'", {"compression": "gzip"}),
        (ArgumentValueError, "segment_bytes: got -1", {"segment_bytes": -1}),
        (ArgumentValueError, "segment_seconds: got 0", {"segment_seconds": 0}),
        (ArgumentValueError, "keep_bytes: got 0", {"keep_bytes": 0}),
        (ArgumentTypeError, "keep_steps: got bool", {"keep_steps": True}),
        (ArgumentValueError, "merge_steps: got 1, want 2", {"keep_steps": 5, "merge_steps": 1}),
        (ArgumentValueError, "merge_steps: got 10 without keep_steps", {"merge_steps": 10}),
    ]
    for kind, message, options in bad:
        with pytest.raises(kind, match=message):
            LogOptions(**options)
