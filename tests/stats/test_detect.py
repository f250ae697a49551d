"""`detect_dead_neurons` and `detect_saturation`."""

import math

import numpy as np
import pytest

import fastact


def test_detect_helpers() -> None:
    x = np.array([[0.0, 1.0, 0.0], [0.0, 0.5, 2.0]])
    assert fastact.detect_dead_neurons(x) == (1, 1 / 3)
    assert fastact.detect_dead_neurons(x, threshold=0.5) == (2, 2 / 3)
    assert fastact.detect_dead_neurons(np.zeros((3, 0))) == (0, 0.0)
    assert fastact.detect_saturation(x) == (2, 1 / 3)
    assert fastact.detect_saturation(x, threshold=1.5) == (1, 1 / 6)
    assert fastact.detect_saturation(np.zeros(0)) == (0, 0.0)
    for bad in (-1.0, math.nan):
        with pytest.raises(fastact.ArgumentValueError, match="threshold"):
            fastact.detect_saturation(x, threshold=bad)
        with pytest.raises(fastact.ArgumentValueError, match="threshold"):
            fastact.detect_dead_neurons(x, threshold=bad)
