"""The networks of the zoo, written as people write them; every part that computes is a module, so that it is watched.

Each function takes what its `data.Task` has (inputs, outputs) and options by name, and returns a network whose layers
have the names that `recipes` speaks of.
"""

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import nn

__all__ = ["NETS"]


def activation(name: str) -> nn.Module:
    """An activation by the name of its class in `torch.nn`."""
    module: nn.Module = getattr(nn, name)()
    return module


def normalisation(name: str, width: int) -> nn.Module:
    """A normalisation of (samples, width)."""
    return nn.BatchNorm1d(width) if name == "batch" else nn.LayerNorm(width)


def he(model: nn.Module) -> None:
    """He's initialisation for all weights of linear layers and convolutions, biases zero."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def xavier(model: nn.Module) -> None:
    """Xavier's initialisation for all weights of linear layers, biases zero."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)


def mlp(
    inputs: int,
    outputs: int,
    *,
    depth: int = 3,
    width: int = 64,
    act: str = "ReLU",
    norm: str = "",
    dropout: float = 0.0,
    init: str = "he",
    last: str = "",
) -> nn.Module:
    """fc1, norm1, act1, drop1, fc2, ..., head. `last`: an activation after the head."""
    model = nn.Sequential()
    size = inputs
    for i in range(1, depth + 1):
        model.add_module(f"fc{i}", nn.Linear(size, width))
        if norm:
            model.add_module(f"norm{i}", normalisation(norm, width))
        model.add_module(f"act{i}", activation(act))
        if dropout:
            model.add_module(f"drop{i}", nn.Dropout(dropout))
        size = width
    model.add_module("head", nn.Linear(size, outputs))
    if init:
        {"he": he, "xavier": xavier}[init](model)
    if last:
        model.add_module("last", activation(last))
    return model


class Standardize(nn.Module):
    """Each feature by its mean and deviation over the batch, without the epsilon."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, features) to the same."""
        return (x - x.mean(0)) / x.std(0)


def scaled(inputs: int, outputs: int, **options: Any) -> nn.Module:
    """An MLP behind a standardisation of its own, which divides by zero where a feature is constant."""
    model = nn.Sequential()
    model.add_module("scale", Standardize())
    for name, layer in mlp(inputs, outputs, **options).named_children():
        model.add_module(name, layer)
    return model


class Residual(nn.Module):
    """x + fc2(act(fc1(norm(x)))), or without the x."""

    def __init__(self, width: int, act: str, norm: str, skip: bool, gain: float) -> None:
        super().__init__()
        self.norm = normalisation(norm, width) if norm else nn.Identity()
        self.fc1 = nn.Linear(width, width)
        self.act = activation(act)
        self.fc2 = nn.Linear(width, width)
        self.skip = skip
        with torch.no_grad():
            self.fc2.weight.mul_(gain)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, width) to the same."""
        change: torch.Tensor = self.fc2(self.act(self.fc1(self.norm(x))))
        return x + change if self.skip else change


def resnet(
    inputs: int,
    outputs: int,
    *,
    blocks: int = 6,
    width: int = 48,
    act: str = "SiLU",
    norm: str = "layer",
    skip: bool = True,
    gain: float = 1.0,
) -> nn.Module:
    """stem, block1, ..., norm, head: a residual stream with the normalisation inside the branches."""
    model = nn.Sequential()
    model.add_module("stem", nn.Linear(inputs, width))
    for i in range(1, blocks + 1):
        model.add_module(f"block{i}", Residual(width, act, norm, skip, gain))
    if norm:
        model.add_module("norm", normalisation(norm, width))
    model.add_module("head", nn.Linear(width, outputs))
    return model


class Squeeze(nn.Module):
    """Each channel times a gate that looks at the means of all channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, width // 4)
        self.act = nn.SiLU()
        self.up = nn.Linear(width // 4, width)
        self.gate = nn.Sigmoid()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, channels, rows, columns) to the same."""
        share: torch.Tensor = self.gate(self.up(self.act(self.down(x.mean((2, 3))))))
        return x * share[:, :, None, None]


def cnn(
    inputs: int,
    outputs: int,
    *,
    channels: tuple[int, ...] = (16, 32),
    act: str = "ReLU",
    norm: bool = False,
    dropout: float = 0.0,
    hidden: int = 64,
    squeeze: bool = False,
) -> nn.Module:
    """conv1, norm1, act1, squeeze1, pool1, ..., flatten, fc, act, drop, head."""
    model = nn.Sequential()
    size = inputs
    for i, width in enumerate(channels, 1):
        model.add_module(f"conv{i}", nn.Conv2d(size, width, 3, padding=1, bias=not norm))
        if norm:
            model.add_module(f"norm{i}", nn.BatchNorm2d(width))
        model.add_module(f"act{i}", activation(act))
        if squeeze:
            model.add_module(f"squeeze{i}", Squeeze(width))
        model.add_module(f"pool{i}", nn.MaxPool2d(2))
        size = width
    model.add_module("flatten", nn.Flatten())
    model.add_module("fc", nn.LazyLinear(hidden))
    model.add_module("act", activation(act))
    if dropout:
        model.add_module("drop", nn.Dropout(dropout))
    model.add_module("head", nn.Linear(hidden, outputs))
    return model


def separable(inputs: int, outputs: int, *, width: int = 24, act: str = "ReLU6", groups: int = 4) -> nn.Module:
    """stem, then depthwise and pointwise convolutions with group norms, a mean over the image, head."""
    model = nn.Sequential()
    model.add_module("stem", nn.Conv2d(inputs, width, 3, padding=1))
    for i in (1, 2, 3):
        model.add_module(f"depth{i}", nn.Conv2d(width, width, 3, padding=1, groups=width, stride=1 + (i == 2)))
        model.add_module(f"point{i}", nn.Conv2d(width, width, 1))
        model.add_module(f"norm{i}", nn.GroupNorm(groups, width))
        model.add_module(f"act{i}", activation(act))
    model.add_module("mean", nn.AdaptiveAvgPool2d(1))
    model.add_module("flatten", nn.Flatten())
    model.add_module("head", nn.Linear(width, outputs))
    return model


class Denoiser(nn.Module):
    """A small U-net: down, across, up, with the image at full size handed over the middle."""

    def __init__(self, inputs: int, outputs: int, width: int, act: str) -> None:
        super().__init__()
        self.enter = nn.Conv2d(inputs, width, 3, padding=1)
        self.act1 = activation(act)
        self.down = nn.Conv2d(width, 2 * width, 3, padding=1, stride=2)
        self.act2 = activation(act)
        self.middle = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.act3 = activation(act)
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.act4 = activation(act)
        self.leave = nn.Conv2d(2 * width, outputs, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, channels, rows, columns) to the same."""
        top = self.act1(self.enter(x))
        low = self.act3(self.middle(self.act2(self.down(top))))
        return self.leave(torch.cat([top, self.act4(self.up(low))], 1))  # type: ignore[no-any-return]


def unet(inputs: int, outputs: int, *, width: int = 12, act: str = "LeakyReLU") -> nn.Module:
    """enter, act1, down, act2, middle, act3, up, act4, leave."""
    return Denoiser(inputs, outputs, width, act)


class Recurrent(nn.Module):
    """Symbols or numbers, in sequence; an answer for each place, or for the last one alone."""

    def __init__(
        self, inputs: int, outputs: int, cell: str, width: int, layers: int, symbols: bool, each: bool, both: bool
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(inputs, width) if symbols else nn.Linear(inputs, width)
        self.rnn: nn.RNNBase = getattr(nn, cell)(width, width, layers, batch_first=True, bidirectional=both)
        self.head = nn.Linear(width * (1 + both), outputs)
        self.each = each

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places[, numbers]) to (samples[, places], outputs)."""
        y, _ = self.rnn(self.embed(x))
        answer: torch.Tensor = self.head(y if self.each else y[:, -1])
        return answer


def recurrent(
    inputs: int,
    outputs: int,
    *,
    cell: str = "GRU",
    width: int = 64,
    layers: int = 1,
    symbols: bool = True,
    each: bool = True,
    both: bool = False,
) -> nn.Module:
    """embed, rnn, head."""
    return Recurrent(inputs, outputs, cell, width, layers, symbols, each, both)


class Block(nn.Module):
    """One layer of a transformer, its normalisations before (`pre`) or after the residual sums."""

    def __init__(self, width: int, heads: int, act: str, pre: bool, norm: bool, dropout: float) -> None:
        super().__init__()
        self.pre = pre
        self.norm1 = nn.LayerNorm(width) if norm else nn.Identity()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(width) if norm else nn.Identity()
        self.fc1 = nn.Linear(width, 4 * width)
        self.act = activation(act)
        self.fc2 = nn.Linear(4 * width, width)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None, blank: torch.Tensor | None) -> torch.Tensor:
        """(samples, places, width) to the same."""

        def attend(x: torch.Tensor) -> torch.Tensor:
            y, _ = self.attn(x, x, x, attn_mask=mask, key_padding_mask=blank, need_weights=False)
            return self.drop(y)  # type: ignore[no-any-return]

        def think(x: torch.Tensor) -> torch.Tensor:
            return self.drop(self.fc2(self.act(self.fc1(x))))  # type: ignore[no-any-return]

        if self.pre:
            x = x + attend(self.norm1(x))
            return x + think(self.norm2(x))
        x = self.norm1(x + attend(x))
        return self.norm2(x + think(x))  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """embed (symbols and places), block0, ..., norm, head; causal where it answers at each place."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int,
        heads: int,
        blocks: int,
        act: str,
        pre: bool,
        norm: bool,
        each: bool,
        blank: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(inputs, width)
        self.places = nn.Embedding(64, width)
        self.blocks = nn.ModuleList(Block(width, heads, act, pre, norm, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(width) if pre and norm else nn.Identity()
        self.head = nn.Linear(width, outputs)
        self.each, self.blank = each, blank
        for table in (self.embed, self.places):
            nn.init.normal_(table.weight, 0.0, 0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places) to (samples[, places], outputs)."""
        length = x.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length, device=x.device) if self.each else None
        # Symbol 0 is a blank, which nobody attends to.
        blank = x == 0 if self.blank else None
        h = self.embed(x) + self.places(torch.arange(length, device=x.device))
        for block in self.blocks:
            h = block(h, mask, blank)
        h = self.norm(h)
        answer: torch.Tensor = self.head(h if self.each else h.mean(1))
        return answer


def transformer(
    inputs: int,
    outputs: int,
    *,
    width: int = 32,
    heads: int = 4,
    blocks: int = 2,
    act: str = "GELU",
    pre: bool = True,
    norm: bool = True,
    each: bool = True,
    blank: bool = False,
    dropout: float = 0.0,
) -> nn.Module:
    """embed, places, blocks.0.norm1, .attn, .norm2, .fc1, .act, .fc2, .drop, blocks.1. ..., norm, head."""
    return Transformer(inputs, outputs, width, heads, blocks, act, pre, norm, each, blank, dropout)


class Gate(nn.Module):
    """The weights of the experts: the softmax over the `top` largest scores, zero for all others."""

    def __init__(self, top: int) -> None:
        super().__init__()
        self.top = top

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        """(samples, experts) to the same."""
        best, places = scores.topk(self.top, -1)
        return torch.zeros_like(scores).scatter(-1, places, best.softmax(-1).to(scores.dtype))


class Expert(nn.Sequential):
    """up, act, down."""

    def __init__(self, width: int, hidden: int, outputs: int, act: str) -> None:
        super().__init__()
        self.add_module("up", nn.Linear(width, hidden))
        self.add_module("act", activation(act))
        self.add_module("down", nn.Linear(hidden, outputs))


class Mixture(nn.Module):
    """stem, act, router, gate, experts.0 to experts.n: each sample is answered by its best experts alone."""

    def __init__(
        self, inputs: int, outputs: int, width: int, hidden: int, experts: int, top: int, act: str, noise: float
    ) -> None:
        super().__init__()
        self.stem = nn.Linear(inputs, width)
        self.act = activation(act)
        self.router = nn.Linear(width, experts)
        self.gate = Gate(top)
        self.experts = nn.ModuleList(Expert(width, hidden, outputs, act) for _ in range(experts))
        self.outputs = outputs
        self.noise = noise

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        x = self.act(self.stem(x))
        scores = self.router(x)
        if self.training and self.noise:
            scores = scores + self.noise * torch.randn_like(scores)
        weights = self.gate(scores)
        y = x.new_zeros(len(x), self.outputs)
        for place, expert in enumerate(self.experts):
            chosen = weights[:, place] > 0
            if bool(chosen.any()):
                y = y.index_put((chosen,), y[chosen] + weights[chosen, place, None] * expert(x[chosen]))
        return y


def mixture(
    inputs: int,
    outputs: int,
    *,
    width: int = 32,
    hidden: int = 16,
    experts: int = 8,
    top: int = 2,
    act: str = "GELU",
    noise: float = 1.0,
) -> nn.Module:
    """stem, act, router, gate, experts.0.up, .act, .down, ..."""
    return Mixture(inputs, outputs, width, hidden, experts, top, act, noise)


class Highway(nn.Module):
    """g * act(fc(x)) + (1 - g) * x with g = sigmoid(choose(x))."""

    def __init__(self, width: int, act: str) -> None:
        super().__init__()
        self.fc = nn.Linear(width, width)
        self.act = activation(act)
        self.choose = nn.Linear(width, width)
        self.gate = nn.Sigmoid()
        nn.init.constant_(self.choose.bias, -1.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, width) to the same."""
        share = self.gate(self.choose(x))
        return share * self.act(self.fc(x)) + (1.0 - share) * x  # type: ignore[no-any-return]


def highway(inputs: int, outputs: int, *, blocks: int = 5, width: int = 40, act: str = "Tanh") -> nn.Module:
    """stem, block1, ..., head."""
    model = nn.Sequential()
    model.add_module("stem", nn.Linear(inputs, width))
    for i in range(1, blocks + 1):
        model.add_module(f"block{i}", Highway(width, act))
    model.add_module("head", nn.Linear(width, outputs))
    return model


class Bag(nn.Module):
    """The mean of the symbols' embeddings, then two layers."""

    def __init__(self, inputs: int, outputs: int, width: int, act: str) -> None:
        super().__init__()
        self.embed = nn.EmbeddingBag(inputs, width, mode="mean")
        self.fc = nn.Linear(width, width)
        self.act = activation(act)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places) to (samples, outputs)."""
        answer: torch.Tensor = self.head(self.act(self.fc(self.embed(x))))
        return answer


def bag(inputs: int, outputs: int, *, width: int = 48, act: str = "ReLU") -> nn.Module:
    """embed, fc, act, head."""
    return Bag(inputs, outputs, width, act)


class Coder(nn.Module):
    """A variational autoencoder that also classifies: enc, act1, mean, logvar, exp, dec, act2, head."""

    def __init__(self, inputs: int, outputs: int, width: int, code: int, act: str) -> None:
        super().__init__()
        self.enc = nn.Linear(inputs, width)
        self.act1 = activation(act)
        self.mean = nn.Linear(width, code)
        self.logvar = nn.Linear(width, code)
        self.exp = Exponential()
        self.dec = nn.Linear(code, width)
        self.act2 = activation(act)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        h = self.act1(self.enc(x))
        code = self.mean(h)
        deviation = self.exp(self.logvar(h))
        if self.training:
            code = code + deviation * torch.randn_like(code)
        answer: torch.Tensor = self.head(self.act2(self.dec(code)))
        return answer


class Exponential(nn.Module):
    """exp(x / 2): a deviation of the logarithm of a variance."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape to the same."""
        return (0.5 * x).exp()


def coder(inputs: int, outputs: int, *, width: int = 64, code: int = 8, act: str = "ReLU") -> nn.Module:
    """enc, act1, mean, logvar, exp, dec, act2, head."""
    return Coder(inputs, outputs, width, code, act)


class Mixer(nn.Module):
    """Patches (3, 3) of an image, mixed over the places and over the features, with residual sums."""

    def __init__(self, inputs: int, outputs: int, width: int, places: int, act: str) -> None:
        super().__init__()
        self.embed = nn.Conv2d(inputs, width, 3, stride=3)
        self.norm1 = nn.LayerNorm(width)
        self.mix = nn.Linear(places, places)
        self.act1 = activation(act)
        self.norm2 = nn.LayerNorm(width)
        self.fc = nn.Linear(width, width)
        self.act2 = activation(act)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, channels, rows, columns) to (samples, outputs)."""
        h = self.embed(x).flatten(2).transpose(1, 2)
        h = h + self.act1(self.mix(self.norm1(h).transpose(1, 2))).transpose(1, 2)
        h = h + self.act2(self.fc(self.norm2(h)))
        answer: torch.Tensor = self.head(self.norm(h).mean(1))
        return answer


def mixer(inputs: int, outputs: int, *, width: int = 32, places: int = 16, act: str = "GELU") -> nn.Module:
    """embed, norm1, mix, act1, norm2, fc, act2, norm, head."""
    return Mixer(inputs, outputs, width, places, act)


#: By name.
NETS: Final[dict[str, Callable[..., nn.Module]]] = {
    make.__name__: make
    for make in (
        mlp, scaled, resnet, cnn, separable, unet, recurrent, transformer, mixture, highway, bag, coder, mixer,
    )
}  # fmt: skip
