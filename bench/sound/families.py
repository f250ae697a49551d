"""Families of architectures: from an input to features, and from features to an answer."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final

import torch
from torch import Tensor, nn

from bench.sound.layers import Block, Dense, Mix, Residual, activation, convolution, initialised, norm
from bench.sound.setup import Setup
from bench.sound.task import Form, Task

__all__ = ["FAMILIES", "families", "network"]


class Flat(nn.Module):
    """An MLP over all that an input has, plain or with blocks that are added."""

    def __init__(self, setup: Setup, inputs: int, *, residual: bool = False) -> None:
        super().__init__()
        first: list[nn.Module] = [nn.Flatten(), Dense(setup, inputs, setup.width)]
        more = [Dense(setup, setup.width, setup.width) for _ in range(setup.depth - 1)]
        self.body = nn.Sequential(*first, *((Residual(each) for each in more) if residual else more))

    def forward(self, x: Tensor) -> Tensor:
        """The pass."""
        return torch.as_tensor(self.body(x))


class Gated(nn.Module):
    """Each layer's output is gated by another half of it."""

    def __init__(self, setup: Setup, inputs: int) -> None:
        super().__init__()
        sizes = [inputs] + [setup.width] * setup.depth
        self.body = nn.Sequential(
            nn.Flatten(),
            *(nn.Sequential(nn.Linear(a, 2 * b), nn.GLU(), norm(setup.norm, b)) for a, b in pairwise(sizes)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """The pass."""
        return torch.as_tensor(self.body(x))


class Experts(nn.Module):
    """Four experts, of which a gate weighs all, or the two best."""

    def __init__(self, setup: Setup, inputs: int) -> None:
        super().__init__()
        self.gate = nn.Linear(inputs, 4)
        self.experts = nn.ModuleList(Flat(setup, inputs) for _ in range(4))
        self.some = setup.functional

    def forward(self, x: Tensor) -> Tensor:
        """The pass."""
        x = x.flatten(1)
        scores = self.gate(x)
        if self.some:
            scores = scores.masked_fill(scores < scores.topk(2, dim=-1)[0][:, -1:], -torch.inf)
        weights = torch.softmax(scores, dim=-1)
        return torch.as_tensor((torch.stack([each(x) for each in self.experts], -1) * weights[:, None]).sum(-1))


class Convolutions(nn.Module):
    """Convolutions that halve the image twice, plain, with blocks that are added, or over time; their mean, or all."""

    def __init__(self, setup: Setup, inputs: int, length: int, dimensions: int, *, residual: bool = False) -> None:
        super().__init__()
        width, parts, places = setup.width, [], length
        for layer in range(setup.depth):
            halve = layer in (1, 2) and places >= 4
            places = (places + 1) // 2 if halve else places
            part: nn.Module = convolution(
                setup, width if layer else inputs, width, dimensions, stride=2 if halve else 1
            )
            parts.append(Residual(part) if residual and layer and not halve else part)
        self.body = nn.Sequential(*parts)
        self.drop = nn.Dropout(setup.dropout)
        self.flat = setup.norm_first and width * places**dimensions <= 2048
        self.axes = tuple(range(-dimensions, 0))
        self.outputs = width * places**dimensions if self.flat else width
        self.turn = dimensions == 1

    def forward(self, x: Tensor) -> Tensor:
        """The pass."""
        x = self.body(x.transpose(1, 2) if self.turn else x)
        return torch.as_tensor(self.drop(x.flatten(1) if self.flat else x.mean(self.axes)))


class Recurrent(nn.Module):
    """RNN, GRU or LSTM; its last output, or the mean of all; each place where the answer is one a place."""

    def __init__(self, setup: Setup, inputs: int, kind: type[Any], *, each: bool) -> None:
        super().__init__()
        both = setup.norm_first and not each
        self.rnn = kind(inputs, setup.width, min(setup.depth, 3), batch_first=True, bidirectional=both)
        self.drop = nn.Dropout(setup.dropout)
        self.each, self.last = each, setup.functional
        self.outputs = setup.width * (2 if both else 1)

    def forward(self, x: Tensor) -> Tensor:
        """The pass."""
        y = self.rnn(x)[0]
        return torch.as_tensor(self.drop(y if self.each else y[:, -1] if self.last else y.mean(1)))


class Places(nn.Module):
    """Places become vectors, blocks work on them, and they are pooled: by their mean, or by attention."""

    def __init__(
        self, setup: Setup, inputs: int, places: int, blocks: list[nn.Module], *, order: bool, each: bool
    ) -> None:
        super().__init__()
        self.into = nn.Linear(inputs, setup.width)
        self.position = nn.Parameter(torch.randn(places, setup.width) * 0.02) if order else None
        self.blocks = nn.Sequential(*blocks)
        self.score = nn.Linear(setup.width, 1) if setup.functional and not each else None
        self.norm = nn.LayerNorm(setup.width) if setup.norm_first else nn.Identity()
        self.each, self.most = each, setup.norm == "group"

    def forward(self, x: Tensor) -> Tensor:
        """The pass."""
        x = self.into(x)
        x = self.norm(self.blocks(x if self.position is None else x + self.position))
        if self.each:
            return x
        if self.score is not None:
            return torch.as_tensor((torch.softmax(self.score(x), dim=1) * x).sum(1))
        return x.amax(1) if self.most else x.mean(1)


class Graph(nn.Module):
    """Each layer adds what neighbours have to what a node has: their mean, their sum, or by attention."""

    def __init__(self, setup: Setup, inputs: int, kind: str, *, each: bool) -> None:
        super().__init__()
        sizes = [inputs] + [setup.width] * min(setup.depth, 4)
        self.own = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.others = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.scores = nn.ModuleList(nn.Linear(2 * a, 1) for a in sizes[:-1]) if kind == "attention" else None
        self.acts = nn.ModuleList(activation(setup) for _ in sizes[1:])
        self.norms = nn.ModuleList(norm("layer" if setup.norm else "", b) for b in sizes[1:])
        self.kind, self.each = kind, each

    def forward(self, x: Tensor, near: Tensor) -> Tensor:
        """The pass."""
        parts = zip(self.own, self.others, self.acts, self.norms, strict=True)
        for layer, (own, others, act, normed) in enumerate(parts):
            weights = near
            if self.scores is not None:
                nodes = x.shape[1]
                both = torch.cat([x[:, :, None].expand(-1, -1, nodes, -1), x[:, None].expand(-1, nodes, -1, -1)], -1)
                score = nn.functional.leaky_relu(self.scores[layer](both).squeeze(-1), 0.2)
                weights = torch.softmax(score.masked_fill(near == 0, -1e9), dim=-1)
            elif self.kind == "mean":
                weights = near / near.sum(-1, keepdim=True).clamp(min=1.0)
            x = act(normed(own(x) + others(weights @ x)))
        return x if self.each else x.mean(1)


class Answer(nn.Module):
    """Features to an answer; symbols are looked up first."""

    def __init__(
        self, body: nn.Module, features: int, outputs: int, last: nn.Module | None, symbols: int, width: int
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, width) if symbols else None
        self.body = body
        self.head = nn.Linear(features, outputs)
        self.last = last

    def forward(self, *inputs: Tensor) -> Tensor:
        """The pass."""
        if self.embedding is not None:
            inputs = (self.embedding(inputs[0]),)
        y = self.head(self.body(*inputs))
        return torch.as_tensor(y if self.last is None else self.last(y))


class Siamese(nn.Module):
    """Both views by one network: (samples, 2 x features)."""

    def __init__(self, one: nn.Module) -> None:
        super().__init__()
        self.one = one

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """The pass."""
        return torch.cat([self.one(first), self.one(second)], -1)


def _chain(setup: Setup, inputs: int, layers: int) -> list[Dense]:
    return [Dense(setup, setup.width if layer else inputs, setup.width) for layer in range(layers)]


class Copying(nn.Module):
    """An encoder, a narrow code, which may be drawn, and a decoder."""

    def __init__(self, setup: Setup, task: Task, last: nn.Module | None, *, drawn: bool) -> None:
        super().__init__()
        width, code, size = setup.width, max(2, min(16, setup.width // 2)), task.outputs
        layers = max(setup.depth // 2, 1)
        self.encoder = nn.Sequential(
            nn.Flatten(), *(Dense(setup, size if not i else width, width) for i in range(layers))
        )
        self.code = nn.Linear(width, code * (2 if drawn else 1))
        self.decoder = nn.Sequential(*_chain(setup, code, layers))
        self.out = nn.Linear(width, size)
        self.drawn, self.last = drawn, last
        self.divergence = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        """The pass."""
        code = self.code(self.encoder(x))
        if self.drawn:
            mean, logvar = code.chunk(2, dim=-1)
            self.divergence = -0.5 * (1 + logvar - mean.square() - logvar.exp()).sum(-1).mean()
            code = mean + torch.randn_like(mean) * (0.5 * logvar).exp() if self.training else mean
        y = self.out(self.decoder(code))
        return torch.as_tensor(y if self.last is None else self.last(y))


class Painting(nn.Module):
    """An autoencoder of convolutions, which halve the image, and transposed ones."""

    def __init__(self, setup: Setup, task: Task, last: nn.Module | None) -> None:
        super().__init__()
        width = setup.width
        self.encoder = nn.Sequential(
            convolution(setup, task.inputs, width, 2, stride=2), nn.Conv2d(width, max(width // 4, 4), 3, padding=1)
        )
        self.decoder = nn.Sequential(
            activation(setup),
            nn.ConvTranspose2d(max(width // 4, 4), width, 4, stride=2, padding=1),
            activation(setup),
            nn.Conv2d(width, task.inputs, 3, padding=1),
        )
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        """The pass."""
        y = self.decoder(self.encoder(x)).flatten(1)
        return torch.as_tensor(y if self.last is None else self.last(y))


#: By name: for which inputs, and whether it can give an answer a place.
FAMILIES: Final[dict[str, tuple[Form, ...]]] = {
    "mlp": ("table", "image", "sequence", "tokens"),
    "residual mlp": ("table", "image", "tokens"),
    "gated mlp": ("table", "tokens"),
    "experts": ("table", "sequence"),
    "cnn": ("image", "sequence", "tokens"),
    "residual cnn": ("image", "sequence"),
    "rnn": ("sequence", "tokens"),
    "gru": ("sequence", "tokens"),
    "lstm": ("sequence", "tokens"),
    "transformer": ("image", "sequence", "tokens", "set", "table"),
    "stock transformer": ("sequence", "tokens", "set"),
    "mixer": ("image", "sequence", "tokens"),
    "pooling": ("set", "sequence", "tokens"),
    "graph mean": ("graph",),
    "graph sum": ("graph",),
    "graph attention": ("graph",),
}
#: Those that give an answer for each place from what came before it.
CAUSAL: Final = ("rnn", "gru", "lstm", "transformer")
#: Those that give back their input.
COPYING: Final = ("autoencoder", "vae")
_CELLS: Final = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


def families(form: Form, goal: str) -> list[str]:
    """The families that can do a task."""
    if goal == "copy":
        return [*COPYING, "painter"] if form == "image" else list(COPYING)
    if goal == "next":
        return list(CAUSAL)
    return [name for name, forms in FAMILIES.items() if form in forms]


def network(setup: Setup, task: Task, last: nn.Module | None = None) -> nn.Module:
    """A new network; `last`: what the loss wants behind its last layer."""
    torch.manual_seed(setup.seed)
    if setup.family in COPYING:
        return initialised(Copying(setup, task, last, drawn=setup.family == "vae"), setup.initial)
    if setup.family == "painter":
        return initialised(Painting(setup, task, last), setup.initial)
    symbols = task.inputs if task.form == "tokens" else 0
    inputs = setup.width if symbols else task.inputs
    body, features = _body(setup, task, inputs)
    model: nn.Module = Answer(body, features, task.outputs, last, symbols, setup.width)
    model = Siamese(model) if task.goal == "pair" else model
    return initialised(model, setup.initial)


def _body(setup: Setup, task: Task, inputs: int) -> tuple[nn.Module, int]:
    """What makes features, and how many."""
    name, width, each = setup.family, setup.width, task.goal == "next"
    size = inputs * (task.length**2 if task.form == "image" else task.length)
    flat: dict[str, Callable[[], nn.Module]] = {
        "mlp": lambda: Flat(setup, size),
        "residual mlp": lambda: Flat(setup, size, residual=True),
        "gated mlp": lambda: Gated(setup, size),
        "experts": lambda: Experts(setup, size),
    }
    if name in flat:
        return flat[name](), width
    if name in ("cnn", "residual cnn"):
        dimensions = 2 if task.form == "image" else 1
        made = Convolutions(setup, inputs, task.length, dimensions, residual=name == "residual cnn")
        return made, made.outputs
    if name in _CELLS:
        cell = Recurrent(setup, inputs, _CELLS[name], each=each)
        return cell, cell.outputs
    if name.startswith("graph"):
        return Graph(setup, inputs, name.split()[1], each=task.goal == "numbers"), width
    return _places(setup, task, inputs, each=each), width


def _places(setup: Setup, task: Task, inputs: int, *, each: bool) -> nn.Module:
    """Those that work on places: images are cut into patches, and each feature of a table is a place."""
    first: nn.Module | None = None
    places = task.length
    if task.form == "image":
        side = 4 if task.length % 4 == 0 else 2
        first, places, inputs = nn.Unfold(side, stride=side), (task.length // side) ** 2, inputs * side * side
    elif task.form == "table":
        places, inputs = inputs, 1
    blocks: list[nn.Module]
    if setup.family == "mixer":
        blocks = [Mix(setup, places) for _ in range(min(setup.depth, 6))]
    elif setup.family == "pooling":
        blocks = [Dense(setup, setup.width, setup.width) for _ in range(min(setup.depth, 4))]
    elif setup.family == "stock transformer":
        blocks = [
            nn.TransformerEncoderLayer(
                setup.width,
                4 if setup.width % 4 == 0 else 1,
                2 * setup.width,
                setup.dropout,
                activation=activation(setup),
                batch_first=True,
                norm_first=setup.norm_first,
            )
            for _ in range(min(setup.depth, 4))
        ]
    else:
        blocks = [Block(setup, causal=each) for _ in range(min(setup.depth, 6))]
    made = Places(setup, inputs, places, blocks, order=task.form != "set", each=each)
    if first is not None:
        return nn.Sequential(first, _Turned(), made)
    return nn.Sequential(nn.Unflatten(1, (places, 1)), made) if task.form == "table" else made


class _Turned(nn.Module):
    """Places before features."""

    def forward(self, x: Tensor) -> Tensor:
        """The pass."""
        return x.transpose(1, 2)
