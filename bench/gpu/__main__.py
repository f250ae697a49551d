"""Runs from the command line: python -m bench.gpu [NAME...] [--quick]."""

import sys

from bench.gpu import deferred, sweep, train
from bench.gpu.clock import missing
from bench.run import command

if __name__ == "__main__":
    problem = missing()
    if problem is not None and not {"-h", "--help"} & set(sys.argv):
        print(f"python -m bench.gpu: nothing measured: {problem}", file=sys.stderr)
        raise SystemExit(2)
    command([sweep.WHOLE, sweep.NEURONS, train.RECORD, train.TRAIN, deferred.DEFERRED], "python -m bench.gpu")
