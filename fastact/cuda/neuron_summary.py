"""The numbers of `fields.NEURON`, on the device: the arithmetic of the loop over neurons in `fastact.cpu`.

Each thread has one neuron and finds its tally; tallies are added in a fixed order; their sum gives the numbers.
"""

import math
from typing import Any, Final, NamedTuple

import numpy as np

from fastact.arithmetic import silence
from fastact.arithmetic.state import COUNT, MAX, MIN, NANS, NEG_INFS, POS_INFS, SATURATED, STD, ZEROS
from fastact.cuda.compiler import device
from fastact.fields import SATURATED_SHARE


class Tally(NamedTuple):
    """What is known of some neurons and can be added: first, how many are silent, dead, saturated and constant."""

    silent: int
    dead: int
    saturated: int
    constant: int
    finite: int  #: finite elements
    variance: float  #: the mean of the neurons' variances, weighted by finite elements
    peak: float  #: the largest |x|; -1.0 without a finite element
    peak_neuron: int  #: the first neuron that has it; -1 without
    peaks: int  #: how many neurons have a |x| above zero
    logs: float  #: the sum of the logarithms of each such neuron's largest |x|


NO_TALLY: Final = Tally(0, 0, 0, 0, 0, 0.0, -1.0, -1, 0, 0.0)
TALLY_WORDS: Final = len(NO_TALLY)


#: As on the host.
silence_weight = device(silence.silence_weight)
next_density = device(silence.next_density)


@device
def is_silent(state: Any) -> bool:
    """Whether a neuron with this state is silent."""
    return bool(state[COUNT] == state[ZEROS])


@device
def tally_neuron(state: Any, neuron: int, silence: int, dead_after: int) -> Any:
    """The tally of one neuron, whose silence has come to `silence`."""
    count = state[COUNT]
    finite = count - state[NANS] - state[POS_INFS] - state[NEG_INFS]
    low = state[MIN]
    high = state[MAX]
    silent = 1 if silence > 0 else 0
    dead = 1 if silence >= dead_after else 0
    saturated = 1 if state[SATURATED] >= SATURATED_SHARE * count else 0
    constant = 1 if finite > 1 and finite == count and low == high and low != 0 else 0
    if finite == 0:
        return Tally(silent, dead, saturated, constant, 0, 0.0, -1.0, -1, 0, 0.0)
    peak = max(abs(np.float64(low)), abs(np.float64(high)))
    peaks = 0
    logs = 0.0
    if peak > 0.0:
        peaks = 1
        logs = math.log(peak)
    return Tally(silent, dead, saturated, constant, finite, state[STD] * state[STD], peak, neuron, peaks, logs)


@device
def add_tallies(a: Any, b: Any) -> Any:
    """The tally of the neurons of both; those of `b` may come before those of `a`."""
    finite = a.finite + b.finite
    variance = a.variance
    if b.finite > 0:
        variance += (b.variance - variance) * (b.finite / finite)
    peak = a.peak
    neuron = a.peak_neuron
    if b.peak > peak or (b.peak == peak and b.peak_neuron < neuron):
        peak = b.peak
        neuron = b.peak_neuron
    return Tally(
        a.silent + b.silent, a.dead + b.dead, a.saturated + b.saturated, a.constant + b.constant,
        finite, variance, peak, neuron, a.peaks + b.peaks, a.logs + b.logs,
    )  # fmt: skip


@device
def neuron_summary(neurons: int, tally: Any) -> Any:
    """The numbers of `fields.NEURON`, in that order."""
    within_std = math.nan
    if tally.finite > 0:
        within_std = math.sqrt(tally.variance)
    typical_peak = math.nan
    if tally.peaks > 0:
        typical_peak = math.exp(tally.logs / tally.peaks)
    return (
        neurons, tally.silent, tally.dead, tally.saturated, tally.constant, within_std, tally.peak_neuron, typical_peak,
    )  # fmt: skip
