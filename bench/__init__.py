"""Benchmarks: fastact beside its peers and beside what the machine can do. Not part of the package."""

from pathlib import Path

#: What was measured last, and the tables and the picture made from it.
RESULTS = Path(__file__).parent / "results"
