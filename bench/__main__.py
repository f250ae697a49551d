"""Runs all benchmarks, or those named: python -m bench [sweep neurons tight start log record] [--quick]."""

from bench import log, neurons, record, start, sweep, tight
from bench.run import command

if __name__ == "__main__":
    command([sweep.BENCHMARK, neurons.BENCHMARK, tight.BENCHMARK, start.BENCHMARK, log.BENCHMARK, record.BENCHMARK])
