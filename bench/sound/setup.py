"""One drawn training: all that was drawn."""

from dataclasses import dataclass
from typing import Any, Final

__all__ = ["FUNCTIONS", "Setup"]

#: Activations that a module may also call as functions.
FUNCTIONS: Final = (
    "ReLU", "LeakyReLU", "ELU", "SELU", "GELU", "SiLU", "Mish", "Hardswish", "Tanh", "Sigmoid", "Softplus",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Setup:
    """What a seed drew.

    Attributes:
        name: seed and number.
        seed: of weights, batches and dropout.
        source: of `sources.SOURCES`.
        scale: how inputs come; see `task.prepared`.
        factor, offset: of targets that are numbers.
        family: of `families.FAMILIES`.
        width: neurons of a layer.
        depth: layers, or blocks.
        activation: a class of `torch.nn`.
        functional: whether it is called as a function.
        norm: "", "batch", "layer", "rms", "group" or "instance".
        norm_first: whether transformers norm before the branch.
        dropout: share.
        initial: "", or a scheme of `torch.nn.init`.
        loss: see `losses.LOSSES`.
        optimizer: see `training.OPTIMIZERS`.
        rate: the learning rate.
        decay: of weights.
        schedule: of the rate, or "".
        clip: "", "norm" or "value"; and at what.
        clip_at: the norm or value.
        bfloat16: whether the forward pass is under autocast.
        batch: samples of a batch.
        accumulate: batches of an optimiser's step.
        steps: training steps: calls of `monitor.step`.
        epochs: whether batches are dealt epoch by epoch, or drawn anew each time.
        evaluate: steps from one evaluation pass to the next; 0: none.
        watch: arguments of `fastact.torch.watch`; "loss": "criterion" stands for the criterion itself.
    """

    name: str
    seed: int
    source: str
    scale: str
    factor: float
    offset: float
    family: str
    width: int
    depth: int
    activation: str
    functional: bool
    norm: str
    norm_first: bool
    dropout: float
    initial: str
    loss: str
    optimizer: str
    rate: float
    decay: float
    schedule: str
    clip: str
    clip_at: float
    bfloat16: bool
    batch: int
    accumulate: int
    steps: int
    epochs: bool
    evaluate: int
    watch: dict[str, Any]
