"""Other data as the reason why samples became alike, or neurons silent: what the input's own past tells."""

from typing import Final

from fastact.diagnosis.causes.cause import Cause
from fastact.diagnosis.causes.remedies import SAME_PREPROCESSING
from fastact.diagnosis.evidence import facts
from fastact.diagnosis.evidence.data_shift import input_moved
from fastact.diagnosis.network import Network

CHECK_LOADER: Final = "check that the data loader returns different samples in a batch"


def other_data(network: Network, step: int) -> Cause:
    """Samples that are all the same since a step; where these are seen to differ, data that is another one since then.

    Args:
        network: all layers.
        step: since when a layer is sick.
    """
    said = input_moved(network, step)
    if facts.inputs_equal(network).refuted_by or not said:
        against = () if said else ("the recorded input is as before",)
        return data_changed()._replace(speaks_for=(said,) if said else (), refuted_by=against)
    says = "Since then all samples of a batch are the same, or nearly so."
    return Cause("inputs_equal", says, (CHECK_LOADER, SAME_PREPROCESSING), (said,))


def data_changed(*, proved: bool = False) -> Cause:
    """Other data since then; `proved` where that is the input itself."""
    return Cause(
        "data_changed",
        "The data changed at that step: another source, another part of it, or another preprocessing.",
        ("look at what changed in the data at that step", SAME_PREPROCESSING),
        ("the input itself changed",) if proved else (),
        (),
        proved,
    )
