"""What is found where less is swept: recipes trained anew with a share of the samples, or of the steps.

    python -m bench.zoo.spared --part opened-3 --sample 0.1 --match inception
    python -m bench.zoo.spared --part opened-3 --every auto

Logs are kept apart from those of the zoo, which are recorded in full: compare with `python -m bench.zoo` of the same
part and runs. Nothing is written.
"""

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.console import Console

import fastact.torch
from bench.zoo import train
from bench.zoo.__main__ import PARTS, show
from bench.zoo.judge import begin, judged


def spare(sample: float, every: str) -> None:
    """Makes a process one that sweeps less."""
    begin()
    number: Any = every if every == "auto" else int(every)
    for module, name, options in (
        (fastact.torch, "watch", {"sample": sample}),
        (train, "ActivationMonitor", {"every": number}),
    ):
        setattr(module, name, partial(getattr(module, name), **options))


def main() -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.zoo.spared", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", choices=PARTS, required=True)
    parser.add_argument("--sample", type=float, default=1.0, help="the share of the samples that is swept")
    parser.add_argument("--every", default="1", help='one step in so many, or "auto"')
    parser.add_argument("--match", default="", metavar="TEXT", help="runs with this in their name")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="runs at a time")
    arguments = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 140)
    folder = Path(f"{train.FOLDER}-{arguments.sample:g}-{arguments.every}")
    given = arguments.sample, arguments.every
    with ProcessPoolExecutor(arguments.jobs, get_context("spawn"), initializer=spare, initargs=given) as pool:
        results = judged(arguments.part, pool, lambda _: None, pattern=arguments.match, folder=folder)
    show(console, arguments.part, results)


if __name__ == "__main__":
    main()
