"""Recurrent layers that run over the samples of a batch in place of the time steps of each."""

from typing import Final

from fastact.diagnosis import layer_types
from fastact.diagnosis.evidence.supervised import Mismatch, Supervised
from fastact.diagnosis.network import LayerView, Network
from fastact.diagnosis.row_conditions import Row
from fastact.fields import COLUMN
from fastact.text import shown

_COUNT: Final = COLUMN["count"]
_NEURONS: Final = COLUMN["neurons"]
#: Samples. Batches of fewer, or of one, tell no axis from another.
_LEAST: Final = 2


def recurrence_over_samples(s: Supervised, network: Network) -> Mismatch | None:
    """A recurrent layer whose last states are as many as a sample has time steps, not as the batch has samples.

    The outputs of a batch are samples times steps, its last states one for each sample: of which there are as many as
    predictions, unless samples were taken for steps.
    """
    samples = s.shape[0] if s.shape else 0
    if samples < _LEAST:
        return None
    for layer in network.everything.values():
        if not layer_types.is_recurrent(layer.info.layer_type) or not layer.info.name.endswith("[0]"):
            continue
        base = layer.info.name.removesuffix("[0]")
        state = next((view for view in network.everything.values() if _is_state(view, base)), None)
        if state is None or layer.info.mode or not (layer.first[_NEURONS] and state.first[_NEURONS]):
            continue
        outputs, states = _places(layer.first), _places(state.first)
        if states < _LEAST or states == samples or outputs != samples * states or states % samples == 0:
            continue
        what = f"{shown(base, 40)} runs over the {samples:,} samples of a batch, as if they were time steps"
        says = (
            "It runs along the batch in place of the time axis: what a sample is answered depends on those before it "
            "in the batch, and not on its own sequence."
        )
        fix = (
            "set batch_first=True where the input is (samples, steps, features)",
            "or give it (steps, samples, features): x.transpose(0, 1)",
        )
        known = f"it ends with {states:,} states for {samples:,} samples of {states:,} steps"
        return Mismatch("batch_axis", "serious", what, says, fix, (known,))
    return None


def _is_state(view: LayerView, base: str) -> bool:
    return view.info.name.startswith(f"{base}[1]") and not view.info.mode


def _places(row: Row) -> int:
    return int(row[_COUNT]) // int(row[_NEURONS])
