"""Runs all benchmarks, or those named: python -m bench [sweep neurons tight many start log record] [--quick]."""

from bench import log, many, neurons, record, start, sweep, tight
from bench.run import command

if __name__ == "__main__":
    modules = (sweep, neurons, tight, many, start, log, record)
    command([module.BENCHMARK for module in modules])
