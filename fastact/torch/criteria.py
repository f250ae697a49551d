"""What a call of a loss function tells: its predictions and targets, its options, how the predictions were made.

PyTorch's own functions and criteria are known by name; of others only the value, and what they were given, is.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules.loss import _Loss
from torch.utils.weak import WeakTensorKeyDictionary

from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.torch.graph import facts_of_loss
from fastact.torch.tensors import find_tensors

Criterion = nn.Module | Callable[..., Any]
#: The `loss` of `watch`: whether any loss is recorded; or which are, one, several in order, or by name.
Loss = bool | Criterion | Iterable[Criterion] | Mapping[str, Criterion]

#: The name of the loss that a model is trained by.
NAME: Final = "loss"

#: Where a loss function has its predictions and its targets, if not at first and second; None for one that compares
#: something else, such as distances between embeddings.
_PLACES: Final[Mapping[str, tuple[int | None, int | None]]] = {
    "cosine_embedding_loss": (None, 2),
    "margin_ranking_loss": (None, 2),
    "triplet_margin_loss": (None, None),
    "triplet_margin_with_distance_loss": (None, None),
    "ctc_loss": (0, None),
}
_NAMES: Final = (("input", "log_probs"), ("target", "targets"))

#: What PyTorch hands to a mode for each loss function, and the function's name.
LOSS_OF: Final[Mapping[Any, str]] = {
    getattr(functional, name): name
    for name in dir(functional)
    if (name.endswith("_loss") and not name.startswith("_"))
    or name in ("cross_entropy", "binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div")
}

#: The functions whose predictions have their classes on axis 1, whatever follows.
_BY_CLASS: Final = frozenset({"cross_entropy", "nll_loss", "CrossEntropyLoss", "NLLLoss", "NLLLoss2d"})

#: The class of a target that is left out, where nothing else is said.
_IGNORED: Final = -100
#: Weights of more classes are not looked at; and those that have been, by their tensor.
_MOST_WEIGHTS: Final = 1024
_weights: Final = WeakTensorKeyDictionary()

#: Nodes of the autograd graph that change nothing but shape, memory or precision.
_NEUTRAL: Final = frozenset({
    "ViewBackward0", "UnsafeViewBackward0", "ReshapeAliasBackward0", "SqueezeBackward0", "SqueezeBackward1",
    "SqueezeBackward2", "UnsqueezeBackward0", "TransposeBackward0", "TBackward0", "PermuteBackward0", "CloneBackward0",
    "ToCopyBackward0", "AliasBackward0", "ExpandBackward0",
})  # fmt: skip
#: Those that change the order of axes.
_TURNS: Final = frozenset({"TransposeBackward0", "TBackward0", "PermuteBackward0"})
#: The layer type of what has made a tensor, by its node.
_MADE_BY: Final[Mapping[str, str]] = {
    "SoftmaxBackward0": "Softmax", "LogSoftmaxBackward0": "LogSoftmax", "SigmoidBackward0": "Sigmoid",
    "LogSigmoidBackward0": "LogSigmoid", "TanhBackward0": "Tanh", "ReluBackward0": "ReLU",
    "LeakyReluBackward0": "LeakyReLU", "EluBackward0": "ELU", "GeluBackward0": "GELU", "SiluBackward0": "SiLU",
    "SoftplusBackward0": "Softplus", "HardtanhBackward0": "Hardtanh", "HardsigmoidBackward0": "Hardsigmoid",
    "AddmmBackward0": "Linear", "MmBackward0": "Linear", "ConvolutionBackward0": "Convolution",
}  # fmt: skip
#: Nodes that pick numbers, clamp them or add a constant, after which what was no probability is none; and how many
#: of them are followed.
_PICKS: Final = _NEUTRAL | {
    "IndexBackward0", "GatherBackward0", "SelectBackward0", "SliceBackward0", "ClampBackward0", "ClampBackward1",
    "ClampMinBackward0", "ClampMaxBackward0", "AddBackward0",
}  # fmt: skip
_MOST_PICKS: Final = 8
#: Nodes by which a loss is averaged or scaled before its backward pass.
_SCALES: Final = frozenset({"MulBackward0", "DivBackward0", "MeanBackward0", "SumBackward0"})
#: Nodes that are looked at in search of the losses which a sum is made of: more than any sum of losses has.
_MOST_NODES: Final = 64


class Given(NamedTuple):
    """What a loss was called with: its predictions and targets, as far as they are tensors."""

    predictions: torch.Tensor | None
    targets: torch.Tensor | None


class Call(NamedTuple):
    """A call of a loss function: what is recorded of it.

    Attributes:
        function: its name; "" for one that is not PyTorch's.
        value: what it returned.
        node: the number of the value's node in the autograd graph, -1 for none.
        given: what it was called with.
        facts: what is known of it.
        place: where the user's code has called it.
        training: whether the model was in training mode.
    """

    function: str
    value: torch.Tensor
    node: int
    given: Given
    facts: dict[str, Any]
    place: tuple[object, ...]
    training: bool


def is_criterion(module: nn.Module) -> bool:
    """Whether the module is one of PyTorch's losses, or derived from one: it computes no activations."""
    return isinstance(module, _Loss)


def name_of(criterion: nn.Module) -> tuple[str, bool]:
    """The name of a criterion's type, and whether it computes what PyTorch's criterion of this name does."""
    for base in type(criterion).__mro__:
        if base.__module__ == _Loss.__module__ and not base.__name__.startswith("_"):
            if type(criterion).forward is getattr(base, "forward", None):
                return base.__name__, True
            break
    return type(criterion).__name__, False


def given(function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Given:
    """The predictions and targets among the arguments of a loss function or criterion."""
    places = _PLACES.get(function, (0, 1))
    found = []
    for place, names in zip(places, _NAMES, strict=True):
        value: Any = None
        if place is not None:
            value = args[place] if place < len(args) else None
            for name in names if value is None else ():
                value = kwargs.get(name)
                if value is not None:
                    break
        found.append(value)
    if found[1] is None and function not in _PLACES and len(args) + len(kwargs) > 1:  # names of the user's own
        found = [*args, *kwargs.values()][:2]
    return Given(*(_tensor(value) for value in found))


def _tensor(value: Any) -> torch.Tensor | None:
    tensors = find_tensors(value)
    return tensors[0][1] if len(tensors) == 1 else None


def class_axis(function: str, predictions: torch.Tensor) -> int:
    """The axis of the classes or units in the predictions."""
    channels = function in _BY_CLASS or predictions.ndim > 3
    return 1 if channels and predictions.ndim > 1 else -1


def options(criterion: object, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that the options of a criterion, or of a call, tell: how terms are put together, and their weights."""

    def option(name: str, default: object) -> Any:
        return kwargs.get(name, getattr(criterion, name, default))

    weights = {
        known: weight
        for name, known in (("weight", "class_weights"), ("pos_weight", "positive_weight"))
        if isinstance(weight := option(name, None), torch.Tensor)
    }
    weighted = bool(weights or option("label_smoothing", 0.0)) or option("ignore_index", _IGNORED) != _IGNORED
    # A smooth L1 is a Huber loss by the width; what is full has a term more.
    weighted = weighted or option("beta", 1.0) != 1.0 or option("full", False) is True
    facts: dict[str, Any] = {"framework": "torch", "weighted": weighted}
    told = {known: _numbers_of(weight) for known, weight in weights.items()}
    if weighted and all(told.values()) and option("full", False) is not True:
        facts |= {**told, "weights_told": True}
    reduction = option("reduction", None)
    if isinstance(reduction, str):
        facts["reduction"] = reduction
    for name, known, usual in (
        ("ignore_index", "ignore_index", _IGNORED), ("label_smoothing", "label_smoothing", 0.0),
        ("margin", "margin", None), ("delta", "width", 1.0), ("beta", "beta", 1.0),
    ):  # fmt: skip
        value = option(name, usual)
        if isinstance(value, int | float) and value != usual:
            facts[known] = value
    for name in ("log_target", "log_input"):
        if option(name, False) is True:
            facts[name] = True
    return facts


def _numbers_of(weight: torch.Tensor) -> list[float]:
    """The weights of classes; none where they are many, or of single numbers."""
    if weight.ndim > 1 or weight.numel() > _MOST_WEIGHTS:
        return []
    known: list[float] | None = _weights.get(weight)
    if known is None:
        # Of a tensor on a GPU this waits for all that is under way there, once.
        known = _weights[weight] = [float(each) for each in weight.detach().reshape(-1).tolist()]
    return known


def last_activation(x: torch.Tensor) -> dict[str, Any]:
    """What the autograd graph tells of how a tensor was made: its "activation", and the axis of a softmax.

    And "viewed", where it was brought into another shape and its numbers are in the order that they were made in.

    Whatever was called, a module or a function, in the model or outside of it, leaves the same node.
    """
    node: Any = x.grad_fn
    names = []
    for _ in range(4):
        if node is None or node.name() not in _NEUTRAL:
            break
        names.append(node.name())
        node = node.next_functions[0][0]
    kind = "" if node is None else _MADE_BY.get(node.name(), "")
    facts: dict[str, Any] = {"activation": kind} if kind else {}
    if names and _TURNS.isdisjoint(names):
        facts["viewed"] = True
    if kind.endswith("oftmax"):
        dim = int(node._saved_dim)
        # It is shown as an unsigned number; and of a view it would be the axis of what was viewed.
        facts["activation_axis"] = dim - (1 << 64) if dim >= 1 << 63 else dim
        if node is not x.grad_fn:
            del facts["activation_axis"]
    return facts


def logarithm_of(value: torch.Tensor) -> str:
    """The layer type of what a loss takes the logarithm of, as it is or clamped; "" for none, or for what is not known.

    A cross entropy that is written by hand has the logarithm of a softmax's output there.
    """
    waiting, seen = [value.grad_fn], 0
    while waiting and seen < _MOST_NODES:
        node: Any = waiting.pop(0)
        seen += 1
        inner = [] if node is None else [each for each, _ in node.next_functions if each is not None]
        if node is None or node.name() != "LogBackward0" or len(inner) != 1:
            waiting += inner
            continue
        made = inner[0]
        for _ in range(_MOST_PICKS):
            inner = [each for each, _ in made.next_functions if each is not None]
            if len(inner) != 1 or made.name() not in _PICKS:
                break
            made = inner[0]
        return _MADE_BY.get(made.name(), "")
    return ""


def of_ones_own(value: torch.Tensor, given: Given) -> dict[str, Any]:
    """The facts of a loss that is not PyTorch's: what it takes the logarithm of; whether its targets are learned.

    And what its graph tells, as in `facts_of_loss`.
    """
    facts = facts_of_loss(value)
    logarithm = logarithm_of(value)
    if logarithm:
        facts["logarithm_of"] = logarithm
    if given.targets is not None and given.targets.requires_grad:
        facts["target_learns"] = True
    return facts


def which_learns(given: Given) -> dict[str, Any]:
    """That a loss has its predictions where its targets should be, by which of them has a gradient."""
    ours, wanted = given
    if ours is None or wanted is None or ours.requires_grad or not wanted.requires_grad:
        return {}
    return {"swapped": True}


def number_of(x: torch.Tensor) -> int:
    """The number of a tensor's node in this thread's autograd graph, -1 for none; to hold it keeps no graph alive."""
    return -1 if x.grad_fn is None else int(x.grad_fn._sequence_nr())


def terms(total: torch.Tensor, nodes: Mapping[int, int]) -> tuple[set[int], bool]:
    """Which losses a backward pass is about.

    Args:
        total: what it begins with.
        nodes: the places of losses in a list, by `number_of`.

    Returns:
        The places of the losses that `total` was computed from, and whether it is one of them and nothing else,
        averaged or scaled at most.
    """
    found: set[int] = set()
    alone = True
    seen: set[Any] = set()
    waiting = [total.grad_fn]
    while waiting and len(seen) < _MOST_NODES:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        number = node._sequence_nr()
        if number in nodes:
            found.add(nodes[number])
            continue
        inner = [each for each, _ in node.next_functions if each is not None]
        if not inner or len(inner) > 1 or (node.name() not in _SCALES and node.name() not in _NEUTRAL):
            alone = False
        waiting += inner
    return found, alone and len(found) == 1


def named(loss: object) -> dict[str, Criterion]:
    """The losses that the user has given to `watch`, each with its name."""
    if loss is None or isinstance(loss, bool):
        return {}
    want = "an nn.Module, a loss function, several of these, a mapping of names to them, or a bool"
    found: dict[str, Criterion] = {}
    if isinstance(loss, Mapping):
        found = dict(loss)
    elif isinstance(loss, nn.Module) or callable(loss):
        found = {NAME: loss}
    elif isinstance(loss, Iterable):
        several = list(loss)
        for each in several:
            spelled = name_of(each)[0] if isinstance(each, nn.Module) else getattr(each, "__name__", "")
            base = f"{NAME}:{spelled or type(each).__name__}" if len(several) > 1 else NAME
            number = sum(other.partition(f"{base}:")[0] in ("", base) for other in found) + 1
            found[base if number == 1 else f"{base}:{number}"] = each
    else:
        raise ArgumentTypeError(f"loss: got {type(loss).__name__}, want {want}")
    if not found:
        raise ArgumentValueError(f"loss: got none, want {want}")
    for name, each in found.items():
        if not isinstance(name, str) or not name or not callable(each):
            raise ArgumentTypeError(f"loss: got {type(each).__name__} as {name!r}, want {want}")
        if isinstance(each, torch.jit.ScriptModule):
            raise ArgumentTypeError("loss: got a TorchScript module, want one that runs in Python")
    if len({id(each) for each in found.values()}) < len(found):
        raise ArgumentValueError("loss: got one criterion under two names, want each once")
    return found


def factor(args: Iterable[Any], result: object) -> torch.Tensor | None:
    """The factor with a gradient of a product that is one number, where the other one is a tensor without."""
    if not isinstance(result, torch.Tensor) or not result.requires_grad or result.numel() != 1:
        return None
    factors = [each for each in args if isinstance(each, torch.Tensor)]
    own = [each for each in factors if each.requires_grad]
    return own[0] if len(own) == 1 and len(factors) == 2 else None
