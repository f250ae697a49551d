"""Posteriors of variational autoencoders that say nothing of a sample any more: two heads at their prior."""

import math
from typing import Any, Final

import numpy as np

from fastact.diagnosis import layer_types
from fastact.diagnosis.causes.cause import Cause
from fastact.diagnosis.evidence import facts
from fastact.diagnosis.network import LayerView, Network, row_rms, row_signal
from fastact.diagnosis.row_conditions import Cells, Row
from fastact.fields import COLUMN
from fastact.text import number

_MEAN, _STD, _NEURONS = COLUMN["mean"], COLUMN["std"], COLUMN["neurons"]

#: A variance, and the logarithm of one, this near to those of a prior N(0, 1) leave 0.002 nats of a sample in each
#: dimension.
_PRIOR: Final = 0.05
#: Root mean square of heads that may say less than a nat, that limit, and the rows that it is taken over.
_AROUND: Final = 0.7
_LEAST_NATS: Final = 1.0
_RECENT: Final = 10
#: So many times what heads differ by at first does what is made of a sample of them.
_SAMPLED: Final = 3.0
#: So many times the signal of the heads has the layer behind them, which takes the noise.
_NOISE: Final = 10.0


def near_prior(cells: Cells) -> Any:
    """Whether a row is that of the mean, or of the logarithm of the variance, of a posterior that is its prior."""
    mean, std = cells[_MEAN], cells[_STD]
    return (mean * mean + std * std <= _PRIOR * _PRIOR) & (cells[_NEURONS] > 0)


def around_prior(cells: Cells) -> Any:
    """Whether a row may be one of a posterior that says next to nothing of a sample, one of its latents apart."""
    mean, std = cells[_MEAN], cells[_STD]
    return (mean * mean + std * std <= _AROUND * _AROUND) & (cells[_NEURONS] > 1)


def may_be_prior(first: Row) -> bool:
    """Whether a layer's first row is far enough from the prior to say that it went there."""
    return first[_NEURONS] > 0 and row_rms(first) >= 1.2 * _PRIOR


def heads(layer: LayerView, network: Network, rows: int) -> bool:
    """Whether a layer is one of two heads that put out a posterior which has collapsed to its prior."""
    pairs = network.once(_heads, rows)
    return bool(pairs) and any(layer is head for pair in pairs for head in pair)


def head_places(network: Network, rows: int) -> set[int]:
    """The places of the layers that are `heads`."""
    return {head.place for pair in network.once(_heads, rows) for head in pair}


def heads_since(layer: LayerView, network: Network, rows: int) -> int:
    """The step since which both heads of the posterior that a layer is one of have put out nothing but their prior."""
    pair = next(pair for pair in network.once(_heads, rows) if layer is pair[0] or layer is pair[1])
    return max((head.streaks.get("prior") or head.streaks["around_prior"]).step for head in pair)


def _heads(network: Network, rows: int) -> list[tuple[LayerView, LayerView]]:
    pairs: list[tuple[LayerView, LayerView]] = []
    if not network.begun("prior", "around_prior"):
        return pairs
    for head, other in zip(network.layers, network.layers[1:], strict=False):
        behind = other.place + 1
        if behind >= len(network.layers):
            continue
        if _says_nothing(head, other, network.layers[behind], rows):
            pairs.append((head, other))
        if not (_collapsed(head, rows) and _collapsed(other, rows)):
            continue
        same = head.info.layer_type == other.info.layer_type and head.last[_NEURONS] == other.last[_NEURONS]
        signal = max(network.signal[head.place], network.signal[other.place])
        if same and network.signal[behind] >= _NOISE * signal:
            pairs.append((head, other))
    return pairs


def _says_nothing(head: LayerView, other: LayerView, behind: LayerView, rows: int) -> bool:
    """Whether two heads have for long put out a posterior with less than a nat of a sample, all latents together.

    That noise is added is seen in the first rows: what lies behind is far larger than the heads can make it.
    """
    if head.info.source != other.info.source or not head.info.source or behind.info.source:
        return False
    for layer in (head, other):
        run = layer.streaks.get("around_prior")
        if run is None or not layer_types.has_weights(layer.info.layer_type):
            return False
        if run.rows < (2 * rows if run.step <= layer.start else rows):
            return False
    neurons = head.last[_NEURONS]
    noisy = row_signal(behind.first, 1) >= _SAMPLED * max(row_signal(each.first, 1) for each in (head, other))
    if not noisy or neurons != other.last[_NEURONS]:
        return False
    return max(_nats(head, other), _nats(other, head)) < _LEAST_NATS


def _nats(mean: LayerView, log_variance: LayerView) -> float:
    """The divergence of the posterior from N(0, 1) over the last rows, all latents together.

    0.5 (E[m²] + E[exp v] - 1 - E[v]) for each, with v as normal.
    """
    rows = mean.rows[-_RECENT:], log_variance.rows[-_RECENT:]
    square = float(np.mean(rows[0]["mean"] ** 2 + rows[0]["std"] ** 2))
    level, spread = float(np.mean(rows[1]["mean"])), float(np.mean(rows[1]["std"]))
    return 0.5 * float(mean.last[_NEURONS]) * (square + math.exp(level + spread * spread / 2.0) - 1.0 - level)


def _collapsed(layer: LayerView, rows: int) -> bool:
    run = layer.streaks.get("prior")
    weights = layer_types.has_weights(layer.info.layer_type)
    return weights and run is not None and run.rows >= rows and run.step > layer.start


def collapse(layer: LayerView, network: Network, rows: int) -> Cause:
    """The posterior of a variational autoencoder that no longer depends on the sample."""
    pair = next((pair for pair in network.once(_heads, rows) if layer is pair[0] or layer is pair[1]), None)
    behind = layer.place + 1 if pair is None else pair[1].place + 1
    noisy = behind < len(network.layers) and network.signal[behind] >= _NOISE * network.signal[layer.place]
    for_it: tuple[str, ...] = ()
    if pair is not None and not noisy and _says_nothing(*pair, network.layers[behind], rows):
        noisy = True
        nats = max(_nats(*pair), _nats(pair[1], pair[0]))
        for_it = (
            f"{facts.named(pair[0])} and {facts.named(pair[1])} say {number(nats)} nats of a sample beyond the prior",
            f"{facts.named(network.layers[behind])}, which comes after, still differs: by noise",
        )
    elif pair is not None:
        other = facts.named(pair[1] if layer is pair[0] else pair[0])
        for_it = (
            f"it and {other} put out nearly 0 for every sample: mean and logarithm of the variance of the prior",
            f"{facts.named(network.layers[behind])}, which comes after, still differs: by noise",
        )
    return Cause(
        "posterior_collapse",
        "The posterior has collapsed to its prior: the latent variables say nothing of the sample, and the decoder "
        "does without them.",
        (
            "lower the weight of the divergence in the loss, or raise it from 0 over the first epochs (annealing)",
            "allow each latent some divergence for free (free bits)",
            "use a weaker decoder",
        ),
        for_it,
        () if noisy and layer_types.has_weights(layer.info.layer_type) else ("nothing behind it adds noise",),
    )
