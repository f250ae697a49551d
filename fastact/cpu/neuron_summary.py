"""What a row of the log says of a layer's neurons, from the states of all of them."""

import math
from typing import Any

import numpy as np

from fastact.arithmetic.state import COUNT, MAXS, MINS, NANS, NEG_INFS, POS_INFS, SATURATED, STDS, ZEROS
from fastact.cpu.jit import exact_jit


@exact_jit
def neuron_summary(states: Any, saturated_share: float, silence: Any, weight: int, dead_after: int) -> Any:
    """What a row says of its neurons: `fields.NEURON` without the first, from part 0 of `cpu.states.States`.

    A neuron is silent without a non-zero element, saturated with at least `saturated_share` of saturated ones, and dead
    when its silence has come to `dead_after`. `silence`, int64[neurons], is the sum of the rows' `weight` since each
    neuron fired (`arithmetic.silence`); it is brought up to date in place.
    """
    counts, moments, extremes = states
    silent = dead = saturated = constant = n = n_peaks = 0
    within = logs = 0.0
    peak_neuron, highest, product = -1, -1.0, 1.0
    for j in range(counts.shape[2]):
        count = counts[COUNT, 0, j]
        finite = count - counts[NANS, 0, j] - counts[POS_INFS, 0, j] - counts[NEG_INFS, 0, j]
        if count == counts[ZEROS, 0, j]:
            silent += 1
            silence[j] += weight
            dead += silence[j] >= dead_after
        else:
            silence[j] = 0
        saturated += counts[SATURATED, 0, j] >= saturated_share * count
        constant += (
            finite > 1
            and finite == count
            and extremes[MINS, 0, j] == extremes[MAXS, 0, j]
            and extremes[MINS, 0, j] != 0
        )
        if finite > 0:
            n += finite
            within += (moments[STDS, 0, j] * moments[STDS, 0, j] - within) * (finite / n)
            peak = max(abs(np.float64(extremes[MINS, 0, j])), abs(np.float64(extremes[MAXS, 0, j])))
            if peak > highest:
                highest = peak
                peak_neuron = j
            if peak > 0.0:
                n_peaks += 1
                # A logarithm for each neuron would be most of this loop: a product is as good while it is in range.
                if not 1e-150 < peak < 1e150:
                    logs += math.log(peak)
                else:
                    product *= peak
                    if not 1e-150 < product < 1e150:
                        logs += math.log(product)
                        product = 1.0
    return (
        silent, dead, saturated, constant, math.sqrt(within) if n > 0 else math.nan, peak_neuron, math.exp((logs +
        math.log(product)) / n_peaks) if n_peaks > 0 else math.nan,
    )  # fmt: skip
