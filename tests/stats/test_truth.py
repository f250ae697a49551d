"""bool of whatever bytes: what is not 0 is true, and true is 1."""

import numpy as np
import pytest
import torch

import fastact

BYTES = np.random.default_rng(0).integers(0, 5, (64, 48), np.uint8) * np.uint8(51)  # 0, 51, ... 204


def test_any_byte_but_zero_counts_as_one() -> None:
    foreign, clean = BYTES.view(np.bool_), BYTES != 0
    assert not np.array_equal(foreign.view(np.uint8), clean.view(np.uint8))
    for axis in (None, 0, 1):
        assert fastact.summarize(foreign, axis=axis) == fastact.summarize(clean, axis=axis)
        tensor = torch.from_numpy(BYTES.copy()).view(torch.bool)
        assert fastact.summarize(tensor, axis=axis) == fastact.summarize(clean, axis=axis)
    assert fastact.summarize_many([foreign, foreign[::2]]) == fastact.summarize_many([clean, clean[::2]])
    assert fastact.summarize(foreign).max == 1.0


@pytest.mark.parametrize("shape", [(3, 1 << 20), (1 << 17, 3), (4, 8, 1 << 12)])
def test_so_it_is_in_long_tensors_and_per_neuron(shape: tuple[int, ...]) -> None:
    foreign = np.resize(BYTES, shape)
    clean = foreign != 0
    for axis in (None, 1):
        assert fastact.summarize(foreign.view(np.bool_), axis=axis) == fastact.summarize(clean, axis=axis)


def test_extras_know_two_values() -> None:
    foreign, clean = BYTES.view(np.bool_), BYTES != 0
    extras = ("shape", "exponents", "quantiles", "outliers")
    found, wanted = (fastact.summarize(x, extras=extras) for x in (foreign, clean))
    assert found == wanted
    assert found.quantile(0.9) == 1.0
