"""A training that is killed at any instant and resumed from its checkpoint: each step is there once, and right."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from fastact import open_log

#: Seconds of the attack: see `conftest`.
SECONDS = float(os.environ.get("FASTACT_ATTACK_SECONDS", "2"))
#: Trains from a checkpoint on: a step's value is the step, plus a thousandth of the start that recorded it.
_TRAINING = """
import json, os, sys, time
from pathlib import Path
import numpy as np
import fastact

run, start = Path(sys.argv[1]), int(sys.argv[2])
checkpoint = run.with_suffix(".json")
step = json.loads(checkpoint.read_text())["step"] if checkpoint.exists() else 0
fastact.summarize(np.ones(4))  # what is compiled first takes longer than a training lives
options = fastact.LogOptions(batch_rows=4, segment_bytes=4096, flush_seconds=0.01)
with fastact.ActivationMonitor(run, start_step=step, log=options) as monitor:
    print("begun", flush=True)
    while step < 1_000_000:
        monitor.record("a", np.full(4, step + start / 1000))
        monitor.record("b", np.full(4, step + start / 1000))
        monitor.step()
        step += 1
        if step % 7 == 0:
            monitor.flush()
            draft = checkpoint.with_suffix(".draft")
            draft.write_text(json.dumps({"step": step, "start": start}))
            os.replace(draft, checkpoint)
        time.sleep(0.0005)
"""


def test_killed_and_resumed_at_random_instants(tmp_path: Path) -> None:
    run, chance, until = tmp_path / "run", random.Random(1), time.monotonic() + SECONDS
    checkpoint = run.with_suffix(".json")
    expected: dict[int, int] = {}  # the start that recorded each step before the checkpoint
    start = 0
    while start < 4 or len(expected) <= 7 or time.monotonic() < until:  # so many, however slow the machine
        command = [sys.executable, "-c", _TRAINING, str(run), str(start)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(chance.random() * 0.4)
            process.send_signal(signal.SIGKILL)
        saved = json.loads(checkpoint.read_text()) if checkpoint.exists() else {"step": 0, "start": -1}
        if saved["start"] == start:
            expected |= dict.fromkeys(range(len(expected), saved["step"]), start)
        if expected:
            log = open_log(run)
            for layer in ("a", "b"):
                records = list(log.replay(layers=layer))
                steps = [record.step for record in records]
                assert steps == sorted(set(steps)), "each step once, in order"
                marks = {record.step: round(1000 * (record.stats.mean - record.step)) for record in records}
                assert {step: marks.get(step) for step in expected} == expected
            assert not [line for line in log.warnings if "never closed" not in line and "end mark" not in line]
        start += 1
    print(f"{start} kills, {len(expected)} steps before the last checkpoint")  # for README; shown by -s
