"""How fast `summarize` is on this machine, beside NumPy and PyTorch doing the same work and a bare read of memory."""

from fastact.benchmark.sweeps import DEFAULT_SIZES, DTYPES, Row, measure

__all__ = ["DEFAULT_SIZES", "DTYPES", "Row", "measure"]
