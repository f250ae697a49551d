"""Networks of features, pairs and sets of the fifth part (held out until 2026-12-01)."""

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn

__all__ = ["bumps", "crossing", "flowed", "machine", "masks", "modulated", "paired", "points", "relay", "stairs"]


def relay(
    inputs: int, outputs: int, *, width: int = 48, depth: int = 3, norm: bool = True, drop: float = 0.0
) -> nn.Module:
    """lin1, bn1, relu1, drop1, lin2, ..., head: linear, batch norm, ReLU and dropout."""
    net = nn.Sequential()
    for i in range(1, depth + 1):
        net.add_module(f"lin{i}", nn.Linear(inputs if i == 1 else width, width))
        if norm:
            net.add_module(f"bn{i}", nn.BatchNorm1d(width))
        net.add_module(f"relu{i}", nn.ReLU())
        net.add_module(f"drop{i}", nn.Dropout(drop))
    net.add_module("head", nn.Linear(width, outputs))
    return net


class Stairs(nn.Module):
    """step.0, act.0, step.1, ..., head: each layer is given all that came before it."""

    def __init__(self, inputs: int, outputs: int, width: int, depth: int, act: str) -> None:
        super().__init__()
        self.step = nn.ModuleList(nn.Linear(inputs + i * width, width) for i in range(depth))
        self.act = nn.ModuleList(getattr(nn, act)() for _ in range(depth))
        self.head = nn.Linear(inputs + depth * width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        for step, act in zip(self.step, self.act, strict=True):
            x = torch.cat([x, act(step(x))], -1)
        answer: torch.Tensor = self.head(x)
        return answer


def stairs(inputs: int, outputs: int, *, width: int = 20, depth: int = 4, act: str = "PReLU") -> nn.Module:
    """step.0, act.0, step.1, ..., head."""
    return Stairs(inputs, outputs, width, depth, act)


class Bumps(nn.Module):
    """Gaussian bumps of each feature, at fixed places."""

    places: torch.Tensor

    def __init__(self, count: int, sharp: float) -> None:
        super().__init__()
        self.register_buffer("places", torch.linspace(-2.0, 2.0, count))
        self.sharp = sharp

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, features) to (samples, features times count)."""
        return torch.exp(-self.sharp * (x[..., None] - self.places).square()).flatten(-2)


def bumps(inputs: int, outputs: int, *, count: int = 8, width: int = 12, sharp: float = 2.0) -> nn.Module:
    """bumps1, sum1, level1, bumps2, sum2: a function of each feature, their sums, and functions of those."""
    net = nn.Sequential()
    net.add_module("bumps1", Bumps(count, sharp))
    net.add_module("sum1", nn.Linear(inputs * count, width))
    net.add_module("level1", nn.LayerNorm(width))
    net.add_module("bumps2", Bumps(count, sharp))
    net.add_module("sum2", nn.Linear(width * count, outputs))
    return net


class Modulated(nn.Module):
    """body.0, turn.0, act.0, ..., head: half of the features say how the layers of the others are scaled and moved."""

    def __init__(self, inputs: int, outputs: int, width: int, depth: int) -> None:
        super().__init__()
        self.cut = inputs // 2
        self.body = nn.ModuleList(nn.Linear(width if i else self.cut, width) for i in range(depth))
        self.turn = nn.ModuleList(nn.Linear(inputs - self.cut, 2 * width) for _ in range(depth))
        self.act = nn.ModuleList(nn.SiLU() for _ in range(depth))
        self.head = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        h, other = x[:, : self.cut], x[:, self.cut :]
        for body, turn, act in zip(self.body, self.turn, self.act, strict=True):
            scale, move = turn(other).chunk(2, -1)
            h = act(body(h) * (1.0 + scale) + move)
        answer: torch.Tensor = self.head(h)
        return answer


def modulated(inputs: int, outputs: int, *, width: int = 40, depth: int = 2) -> nn.Module:
    """body.0, turn.0, act.0, ..., head."""
    return Modulated(inputs, outputs, width, depth)


class Paired(nn.Module):
    """left, right, both (bilinear), tanh, head."""

    def __init__(self, inputs: int, outputs: int, width: int, times: float) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(inputs, width), nn.Linear(inputs, width)
        self.both, self.tanh = nn.Bilinear(width, width, width), nn.Tanh()
        self.head = nn.Linear(width, outputs)
        with torch.no_grad():
            self.both.weight.mul_(times)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        answer: torch.Tensor = self.head(self.tanh(self.both(self.left(x), self.right(x))))
        return answer


def paired(inputs: int, outputs: int, *, width: int = 16, times: float = 1.0) -> nn.Module:
    """left, right, both, tanh, head."""
    return Paired(inputs, outputs, width, times)


class Masks(nn.Module):
    """look.0, over.0, lift.0, glu.0, ..., head: each step looks at features by a softmax, and lifts them by a GLU."""

    def __init__(self, inputs: int, outputs: int, width: int, steps: int, scale: float) -> None:
        super().__init__()
        self.look = nn.ModuleList(nn.Linear(width if i else inputs, inputs) for i in range(steps))
        self.over = nn.ModuleList(nn.Softmax(-1) for _ in range(steps))
        self.lift = nn.ModuleList(nn.Linear(inputs, 2 * width) for _ in range(steps))
        self.glu = nn.ModuleList(nn.GLU() for _ in range(steps))
        self.head = nn.Linear(width, outputs)
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        h, total = x, torch.zeros(())
        for look, over, lift, glu in zip(self.look, self.over, self.lift, self.glu, strict=True):
            h = glu(lift(x * over(self.scale * look(h)) * x.shape[-1]))
            total = total + h
        answer: torch.Tensor = self.head(total)
        return answer


def masks(inputs: int, outputs: int, *, width: int = 32, steps: int = 3, scale: float = 1.0) -> nn.Module:
    """look.0, over.0, lift.0, glu.0, ..., head."""
    return Masks(inputs, outputs, width, steps, scale)


class Flowed(nn.Module):
    """into, pull (asked at each of several moments), head: a state that follows a field."""

    def __init__(self, inputs: int, outputs: int, width: int, moments: int, far: float) -> None:
        super().__init__()
        self.into, self.head = nn.Linear(inputs, width), nn.Linear(width, outputs)
        self.pull = nn.Sequential(nn.Linear(width, 2 * width), nn.Tanh(), nn.Linear(2 * width, width))
        self.moments, self.far = moments, far

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        h = self.into(x)
        for _ in range(self.moments):
            h = h + self.far / self.moments * self.pull(h)
        answer: torch.Tensor = self.head(h)
        return answer


def flowed(inputs: int, outputs: int, *, width: int = 20, moments: int = 4, far: float = 1.0) -> nn.Module:
    """into, pull.0, pull.1, pull.2, head."""
    return Flowed(inputs, outputs, width, moments, far)


class Machine(nn.Module):
    """one, many, deep1, relu, deep2: a factorisation machine beside a network of the same codes."""

    def __init__(self, inputs: int, outputs: int, size: int, start: float) -> None:
        super().__init__()
        self.one, self.many = nn.Embedding(inputs, 1), nn.Embedding(inputs, size)
        nn.init.normal_(self.one.weight, 0.0, 0.1)
        nn.init.normal_(self.many.weight, 0.0, start)
        self.deep1, self.relu, self.deep2 = nn.Linear(3 * size, 32), nn.ReLU(), nn.Linear(32, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, 3) to (samples, outputs)."""
        codes = self.many(x)
        pairs = 0.5 * (codes.sum(1).square() - codes.square().sum(1)).sum(-1, keepdim=True)
        answer: torch.Tensor = self.one(x).sum(1) + pairs + self.deep2(self.relu(self.deep1(codes.flatten(1))))
        return answer


def machine(inputs: int, outputs: int, *, size: int = 8, start: float = 0.3) -> nn.Module:
    """one, many, deep1, relu, deep2."""
    return Machine(inputs, outputs, size, start)


class Points(nn.Module):
    """each1, act1, each2, act2, (largest of all points), join, act3, head."""

    def __init__(self, inputs: int, outputs: int, width: int, pool: str) -> None:
        super().__init__()
        self.each1, self.act1 = nn.Linear(inputs, width), nn.LeakyReLU(0.1)
        self.each2, self.act2 = nn.Linear(width, 2 * width), nn.LeakyReLU(0.1)
        self.join, self.act3, self.head = nn.Linear(2 * width, width), nn.LeakyReLU(0.1), nn.Linear(width, outputs)
        self.pool = pool

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, points, inputs) to (samples, outputs)."""
        h = self.act2(self.each2(self.act1(self.each1(x))))
        h = h.amax(1) if self.pool == "max" else h.sum(1)
        answer: torch.Tensor = self.head(self.act3(self.join(h)))
        return answer


def points(inputs: int, outputs: int, *, width: int = 24, pool: str = "max") -> nn.Module:
    """each1, act1, each2, act2, join, act3, head."""
    return Points(inputs, outputs, width, pool)


class Crossing(nn.Module):
    """read, blocks.0.norm, blocks.0.seen, blocks.0.up, ..., head: attention among the points of a set."""

    def __init__(self, inputs: int, outputs: int, width: int, depth: int) -> None:
        super().__init__()
        self.read = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(
            nn.ModuleDict({
                "norm": nn.LayerNorm(width),
                "seen": nn.MultiheadAttention(width, 2, batch_first=True),
                "up": nn.Linear(width, 2 * width),
                "act": nn.GELU(),
                "down": nn.Linear(2 * width, width),
            })
            for _ in range(depth)
        )  # fmt: skip
        self.head = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, points, inputs) to (samples, outputs)."""
        h = self.read(x)
        for block in self.blocks:
            assert isinstance(block, nn.ModuleDict)
            seen = block["norm"](h)
            h = h + block["seen"](seen, seen, seen, need_weights=False)[0]
            h = h + block["down"](block["act"](block["up"](F.layer_norm(h, h.shape[-1:]))))
        answer: torch.Tensor = self.head(h.mean(1))
        return answer


def crossing(inputs: int, outputs: int, *, width: int = 24, depth: int = 2) -> nn.Module:
    """read, blocks.0.norm, blocks.0.seen, blocks.0.up, blocks.0.act, blocks.0.down, ..., head."""
    return Crossing(inputs, outputs, width, depth)
