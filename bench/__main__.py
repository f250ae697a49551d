"""Runs all benchmarks, or those named: python -m bench [sweep bound neurons tight many start log record] [--quick]."""

from bench import bound, log, many, neurons, record, start, sweep, tight
from bench.run import command

if __name__ == "__main__":
    modules = (sweep, bound, neurons, tight, many, start, log, record)
    command([module.BENCHMARK for module in modules])
