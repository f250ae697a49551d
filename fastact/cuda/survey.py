"""What a row tells of its neurons, on the device: `fields.NEURON`, as `cpu.neuron_summary` finds it.

There a loop goes over the neurons; here each thread has one, and what it found is joined with that of others in a fixed
order. So this is the same arithmetic, cut into what is found of a neuron, what is joined, and what is made of all.
"""

import math
from typing import Any, Final

import numpy as np

from fastact.cuda.device import barrier, device, fetch_word, store_word
from fastact.fields import SATURATED_SHARE, SILENT_SHARE

__all__ = [
    "TALLY_WORDS",
    "add_tallies",
    "get_tally",
    "is_silent",
    "join_tallies",
    "no_tally",
    "put_tally",
    "tally_neuron",
    "total_tally",
]

#: A tally: neurons that are silent, dead, saturated, constant; finite elements and the mean of their neurons'
#: variances; the largest |x| and its neuron; how many neurons have one above zero, and the sum of its logarithms.
TALLY_WORDS: Final = 10


@device
def no_tally() -> Any:
    """The tally of no neurons."""
    return (0, 0, 0, 0, 0, 0.0, -1.0, -1, 0, 0.0)


@device
def is_silent(state: Any) -> bool:
    """Whether a neuron with this state is silent."""
    return bool(state[0] - state[4] <= SILENT_SHARE * state[0])


@device
def tally_neuron(state: Any, neuron: int, silence: int, dead_after: int) -> Any:
    """The tally of one neuron, which has been silent for `silence` rows."""
    count = state[0]
    finite = count - state[1] - state[2] - state[3]
    silent = 1 if silence > 0 else 0
    dead = 1 if silence > 0 and silence >= dead_after else 0
    saturated = 1 if state[5] >= SATURATED_SHARE * count else 0
    constant = 1 if finite > 1 and finite == count and state[9] == state[10] and state[9] != 0 else 0
    if finite == 0:
        return (silent, dead, saturated, constant, 0, 0.0, -1.0, -1, 0, 0.0)
    peak = max(abs(np.float64(state[9])), abs(np.float64(state[10])))
    peaks = 0
    logs = 0.0
    if peak > 0.0:
        peaks = 1
        logs = math.log(peak)
    return (silent, dead, saturated, constant, finite, state[7] * state[7], peak, neuron, peaks, logs)


@device
def add_tallies(a: Any, b: Any) -> Any:
    """The tally of the neurons of both; those of `b` may come before those of `a`."""
    n = a[4] + b[4]
    within = a[5]
    if b[4] > 0:
        within += (b[5] - within) * (b[4] / n)
    peak = a[6]
    neuron = a[7]
    if b[6] > peak or (b[6] == peak and b[7] < neuron):
        peak = b[6]
        neuron = b[7]
    return (
        a[0] + b[0],
        a[1] + b[1],
        a[2] + b[2],
        a[3] + b[3],
        n,
        within,
        peak,
        neuron,
        a[8] + b[8],
        a[9] + b[9],
    )


@device
def total_tally(neurons: int, tally: Any) -> Any:
    """The numbers of `fields.NEURON`."""
    within = math.nan
    if tally[4] > 0:
        within = math.sqrt(tally[5])
    typical = math.nan
    if tally[8] > 0:
        typical = math.exp(tally[9] / tally[8])
    return (neurons, tally[0], tally[1], tally[2], tally[3], within, tally[7], typical)


@device
def put_tally(first: int, tally: Any) -> None:
    """Writes a tally as `TALLY_WORDS` words."""
    store_word(first, tally[0])
    store_word(first + 8, tally[1])
    store_word(first + 16, tally[2])
    store_word(first + 24, tally[3])
    store_word(first + 32, tally[4])
    store_word(first + 40, tally[5])
    store_word(first + 48, tally[6])
    store_word(first + 56, tally[7])
    store_word(first + 64, tally[8])
    store_word(first + 72, tally[9])


@device
def get_tally(first: int) -> Any:
    """Reads what `put_tally` wrote."""
    return (
        fetch_word(first, 1),
        fetch_word(first + 8, 1),
        fetch_word(first + 16, 1),
        fetch_word(first + 24, 1),
        fetch_word(first + 32, 1),
        fetch_word(first + 40, 1.0),
        fetch_word(first + 48, 1.0),
        fetch_word(first + 56, 1),
        fetch_word(first + 64, 1),
        fetch_word(first + 72, 1.0),
    )


@device
def join_tallies(tally: Any, thread: int, span: int, counts: Any, numbers: Any) -> Any:
    """The tallies of the first 2 * `span` threads, joined in pairs; the first thread has the result.

    Shared memory: `counts` int64[7, span or more], `numbers` float64[3, span or more].
    """
    while span >= 1:
        slot = thread - span
        if 0 <= slot < span:
            counts[0, slot] = tally[0]
            counts[1, slot] = tally[1]
            counts[2, slot] = tally[2]
            counts[3, slot] = tally[3]
            counts[4, slot] = tally[4]
            numbers[0, slot] = tally[5]
            numbers[1, slot] = tally[6]
            counts[5, slot] = tally[7]
            counts[6, slot] = tally[8]
            numbers[2, slot] = tally[9]
        barrier()
        if thread < span:
            other = (
                counts[0, thread],
                counts[1, thread],
                counts[2, thread],
                counts[3, thread],
                counts[4, thread],
                numbers[0, thread],
                numbers[1, thread],
                counts[5, thread],
                counts[6, thread],
                numbers[2, thread],
            )
            tally = add_tallies(tally, other)
        barrier()
        span //= 2
    return tally
