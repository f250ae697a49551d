"""Networks of features of the third part (held out until 2026-11-30)."""

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn

__all__ = [
    "alpha_dropped", "cosine", "feature_tokens", "operator", "radial", "rounded", "soft_tree", "swiglu", "two_towers",
    "weight_normed", "winners",
]  # fmt: skip


class RootMean(nn.Module):
    """x over its root mean square, in x's own type, as many write it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., width) to the same."""
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6) * self.gain


class SwiGlu(nn.Module):
    """x + down(silu(gate(norm(x))) * up(norm(x)))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = RootMean(width)
        self.gate = nn.Linear(width, 2 * width, bias=False)
        self.up = nn.Linear(width, 2 * width, bias=False)
        self.down = nn.Linear(2 * width, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, width) to the same."""
        h = self.norm(x)
        change: torch.Tensor = self.down(F.silu(self.gate(h)) * self.up(h))
        return x + change


def swiglu(inputs: int, outputs: int, *, width: int = 24, blocks: int = 2) -> nn.Module:
    """lift, block1.norm, .gate, .up, .down, ..., norm, head."""
    model = nn.Sequential()
    model.add_module("lift", nn.Linear(inputs, width))
    for i in range(1, blocks + 1):
        model.add_module(f"block{i}", SwiGlu(width))
    model.add_module("norm", RootMean(width))
    model.add_module("head", nn.Linear(width, outputs))
    return model


def alpha_dropped(inputs: int, outputs: int, *, width: int = 48, depth: int = 5, drop: float = 0.03) -> nn.Module:
    """self1, selu1, alpha1, ..., head: a self-normalising network."""
    model = nn.Sequential()
    for i in range(1, depth + 1):
        layer = nn.Linear(width if i > 1 else inputs, width)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
        model.add_module(f"self{i}", layer)
        model.add_module(f"selu{i}", nn.SELU())
        model.add_module(f"alpha{i}", nn.AlphaDropout(drop))
    model.add_module("head", nn.Linear(width, outputs))
    return model


class FeatureTokens(nn.Module):
    """Each feature is a token, and one more token answers: weight, bias, layers (attn, up, down), norm, head."""

    def __init__(self, inputs: int, outputs: int, width: int, depth: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.3 * torch.randn(inputs, width))
        self.bias = nn.Parameter(0.3 * torch.randn(inputs + 1, width))
        self.attn = nn.ModuleList(nn.MultiheadAttention(width, 2, batch_first=True) for _ in range(depth))
        self.before = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * depth))
        self.up = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(depth))
        self.down = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        h = F.pad(x[..., None] * self.weight, (0, 0, 1, 0)) + self.bias
        for i, (attn, up, down) in enumerate(zip(self.attn, self.up, self.down, strict=True)):
            y = self.before[2 * i](h)
            h = h + attn(y, y, y, need_weights=False)[0]
            h = h + down(F.glu(up(self.before[2 * i + 1](h))))
        answer: torch.Tensor = self.head(F.relu(self.norm(h[:, 0])))
        return answer


def feature_tokens(inputs: int, outputs: int, *, width: int = 16, depth: int = 2) -> nn.Module:
    """attn.0, before.0, before.1, up.0, down.0, ..., norm, head."""
    return FeatureTokens(inputs, outputs, width, depth)


class Operator(nn.Module):
    """Fourier layers: some modes of a function times weights of their own, beside a convolution of width one."""

    def __init__(self, width: int, modes: int, depth: int) -> None:
        super().__init__()
        self.lift = nn.Linear(2, width)
        size = (width, width, modes)
        self.modes = nn.ParameterList(torch.randn(size, dtype=torch.cfloat) / width for _ in range(depth))
        self.point = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in range(depth))
        self.project = nn.Linear(width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places) to the same."""
        place = torch.linspace(-1.0, 1.0, x.shape[1]).expand_as(x)
        h = self.lift(torch.stack([x, place], -1)).transpose(1, 2)
        for modes, point in zip(self.modes, self.point, strict=True):
            waves = torch.fft.rfft(h)[..., : modes.shape[-1]]
            h = F.gelu(torch.fft.irfft(torch.einsum("nim,iom->nom", waves, modes), n=x.shape[1]) + point(h))
        answer: torch.Tensor = self.project(h.transpose(1, 2))[..., 0]
        return answer


def operator(_inputs: int, _outputs: int, *, width: int = 12, modes: int = 6, depth: int = 3) -> nn.Module:
    """lift, point.0, point.1, ..., project."""
    return Operator(width, modes, depth)


class Bumps(nn.Module):
    """exp(-sharpness * squared distance) from each centre."""

    def __init__(self, inputs: int, count: int, sharpness: float) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(count, inputs))
        self.sharpness = sharpness

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, count)."""
        return torch.exp(-self.sharpness * (x[:, None] - self.centres).square().sum(-1))


def radial(inputs: int, outputs: int, *, count: int = 60, sharpness: float = 3.0) -> nn.Module:
    """bumps, mix, prelu, head."""
    model = nn.Sequential()
    model.add_module("bumps", Bumps(inputs, count, sharpness))
    model.add_module("mix", nn.Linear(count, 32))
    model.add_module("prelu", nn.PReLU())
    model.add_module("head", nn.Linear(32, outputs))
    return model


class SoftTree(nn.Module):
    """At each fork to the left with the probability of a sigmoid; leaves are answers."""

    def __init__(self, inputs: int, outputs: int, depth: int, trees: int) -> None:
        super().__init__()
        self.mix = nn.Linear(inputs, 16)
        self.forks = nn.Linear(16, trees * (2**depth - 1))
        self.left = nn.Sigmoid()
        self.leaves = nn.Linear(trees * 2**depth, outputs)
        self.depth, self.trees = depth, trees

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs) to (samples, outputs)."""
        left = self.left(self.forks(torch.tanh(self.mix(x)))).view(len(x), self.trees, -1)
        reached = torch.ones(len(x), self.trees, 1)
        for level in range(self.depth):
            share = left[..., 2**level - 1 : 2 ** (level + 1) - 1]
            reached = torch.stack([reached * share, reached * (1.0 - share)], -1).flatten(2)
        answer: torch.Tensor = self.leaves(reached.flatten(1))
        return answer


def soft_tree(inputs: int, outputs: int, *, depth: int = 3, trees: int = 6) -> nn.Module:
    """mix, forks, left, leaves."""
    return SoftTree(inputs, outputs, depth, trees)


class TwoTowers(nn.Module):
    """people, films, and what each of them adds: a rating is a product."""

    def __init__(self, count: int, size: int, spread: float) -> None:
        super().__init__()
        self.people, self.films = nn.Embedding(count, size), nn.Embedding(count, size)
        self.liked = nn.Embedding(count, 1)
        self.deep = nn.Linear(2 * size, 16)
        self.last = nn.Linear(16, 1)
        for table in (self.people, self.films, self.liked):
            nn.init.normal_(table.weight, 0.0, spread)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, 2) to (samples, 1)."""
        a, b = self.people(x[:, 0]), self.films(x[:, 1])
        more = self.last(F.relu(self.deep(torch.cat([a, b], 1))))
        answer: torch.Tensor = (a * b).sum(1, keepdim=True) + self.liked(x[:, 1]) + more
        return answer


def two_towers(inputs: int, _outputs: int, *, size: int = 6, spread: float = 0.3) -> nn.Module:
    """people, films, liked, deep, last."""
    return TwoTowers(inputs, size, spread)


def weight_normed(inputs: int, outputs: int, *, width: int = 40, depth: int = 3) -> nn.Module:
    """wn1, soft1, wn2, soft2, ..., head: each row of weights is a length times a direction."""
    model = nn.Sequential()
    for i in range(1, depth + 1):
        layer = nn.Linear(width if i > 1 else inputs, width)
        model.add_module(f"wn{i}", nn.utils.parametrizations.weight_norm(layer))
        model.add_module(f"soft{i}", nn.Softplus())
    model.add_module("head", nn.Linear(width, outputs))
    return model


class Cosine(nn.Module):
    """Cosines of features and of a direction for each class, times a scale."""

    def __init__(self, width: int, outputs: int, scale: float) -> None:
        super().__init__()
        self.directions = nn.Parameter(torch.randn(outputs, width))
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, width) to (samples, outputs)."""
        return self.scale * F.normalize(x) @ F.normalize(self.directions).T


def cosine(inputs: int, outputs: int, *, width: int = 48, scale: float = 12.0) -> nn.Module:
    """flat, fc1, prelu1, fc2, prelu2, feature, cosine."""
    model = nn.Sequential()
    model.add_module("flat", nn.Flatten())
    model.add_module("fc1", nn.LazyLinear(width))
    model.add_module("prelu1", nn.PReLU())
    model.add_module("fc2", nn.Linear(width, width))
    model.add_module("prelu2", nn.PReLU())
    model.add_module("feature", nn.Linear(width, 16))
    model.add_module("cosine", Cosine(16, outputs, scale))
    return model


class Rounded(nn.Module):
    """Rounded to whole steps within eight bits, gradients passed through."""

    def __init__(self, step: float) -> None:
        super().__init__()
        self.step = step

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape to the same."""
        return x + ((x / self.step).round().clamp(-128, 127) * self.step - x).detach()


def rounded(inputs: int, outputs: int, *, width: int = 40, step: float = 0.05) -> nn.Module:
    """fc1, act1, round1, fc2, act2, round2, head: trained for eight bits."""
    model = nn.Sequential()
    for i in (1, 2):
        model.add_module(f"fc{i}", nn.Linear(inputs if i == 1 else width, width))
        model.add_module(f"act{i}", nn.CELU())
        model.add_module(f"round{i}", Rounded(step))
    model.add_module("head", nn.Linear(width, outputs))
    return model


class Winners(nn.Module):
    """The largest of each sample's features, all others zero."""

    def __init__(self, kept: int) -> None:
        super().__init__()
        self.kept = kept

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, width) to the same."""
        return torch.where(x >= x.topk(self.kept, -1).values[..., -1:], x, 0.0)


def winners(inputs: int, outputs: int, *, width: int = 96, kept: int = 12) -> nn.Module:
    """spread1, even1, win1, spread2, even2, win2, head: one feature in eight is active at a time."""
    model = nn.Sequential()
    for i in (1, 2):
        model.add_module(f"spread{i}", nn.Linear(inputs if i == 1 else width, width))
        model.add_module(f"even{i}", nn.BatchNorm1d(width))
        model.add_module(f"win{i}", Winners(kept))
    model.add_module("head", nn.Linear(width, outputs))
    return model
