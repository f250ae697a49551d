"""Networks for images of the opened part (held out until 2026-11-30)."""

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn

__all__ = ["dense_net", "hourglass", "lenet", "preact", "strided", "vision"]


class LeNet(nn.Module):
    """conv1, conv2, fc1, fc2, out; F.relu and F.max_pool2d between."""

    def __init__(self, inputs: int, outputs: int, act: str, side: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        self.fc1 = nn.Linear(16 * (side // 4) ** 2, 48)
        self.fc2 = nn.Linear(48, 24)
        self.out = nn.Linear(24, outputs)
        self.act = getattr(F, act)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, channels, rows, columns) to (samples, outputs)."""
        x = F.max_pool2d(self.act(self.conv1(x)), 2)
        x = F.max_pool2d(self.act(self.conv2(x)), 2).flatten(1)
        answer: torch.Tensor = self.out(self.act(self.fc2(self.act(self.fc1(x)))))
        return answer


def lenet(inputs: int, outputs: int, *, act: str = "relu", side: int = 12) -> nn.Module:
    """conv1, conv2, fc1, fc2, out."""
    return LeNet(inputs, outputs, act, side)


class PreActivated(nn.Module):
    """x + conv_b(act(even_b(conv_a(act(even_a(x)))))), one act for both places."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.even_a = nn.BatchNorm2d(width)
        self.conv_a = nn.Conv2d(width, width, 3, padding=1)
        self.even_b = nn.BatchNorm2d(width)
        self.conv_b = nn.Conv2d(width, width, 3, padding=1)
        self.act = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, channels, rows, columns) to the same."""
        change: torch.Tensor = self.conv_b(self.act(self.even_b(self.conv_a(self.act(self.even_a(x))))))
        return x + change


class PreResNet(nn.Module):
    """begin, stage1, stage2, even, head."""

    def __init__(self, inputs: int, outputs: int, width: int, stages: int) -> None:
        super().__init__()
        self.begin = nn.Conv2d(inputs, width, 3, padding=1, stride=2)
        self.stages = nn.ModuleList(PreActivated(width) for _ in range(stages))
        self.even = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, channels, rows, columns) to (samples, outputs)."""
        x = self.begin(x)
        for stage in self.stages:
            x = stage(x)
        answer: torch.Tensor = self.head(F.adaptive_avg_pool2d(F.relu(self.even(x)), 1).flatten(1))
        return answer


def preact(inputs: int, outputs: int, *, width: int = 12, stages: int = 2) -> nn.Module:
    """begin, stages.0.even_a, .conv_a, .even_b, .conv_b, .act, ..., even, head."""
    return PreResNet(inputs, outputs, width, stages)


class DenseNet(nn.Module):
    """Each layer sees all before it: grow0, grow1, ..., with ECA gates, then head."""

    def __init__(self, inputs: int, outputs: int, growth: int, layers: int, act: str) -> None:
        super().__init__()
        self.grow = nn.ModuleList(nn.Conv2d(inputs + i * growth, growth, 3, padding=1, stride=1) for i in range(layers))
        self.gate = nn.ModuleList(nn.Conv1d(1, 1, 3, padding=1) for _ in range(layers))
        self.act: nn.Module = getattr(nn, act)()
        self.head = nn.Linear(inputs + layers * growth, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, channels, rows, columns) to (samples, outputs)."""
        x = F.avg_pool2d(x, 2)
        for conv, gate in zip(self.grow, self.gate, strict=True):
            y = self.act(conv(x))
            share = torch.sigmoid(gate(y.mean((2, 3))[:, None])[:, 0])
            x = torch.cat([x, y * share[:, :, None, None]], 1)
        answer: torch.Tensor = self.head(x.mean((2, 3)))
        return answer


def dense_net(inputs: int, outputs: int, *, growth: int = 8, layers: int = 3, act: str = "Mish") -> nn.Module:
    """grow.0, gate.0, ..., act, head."""
    return DenseNet(inputs, outputs, growth, layers, act)


class Hourglass(nn.Module):
    """A U-net of functions: down1, down2, up1, up2 with skips, F.interpolate and F.elu."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.down1 = nn.Conv2d(inputs, width, 3, padding=1)
        self.down2 = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.deep = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.up1 = nn.Conv2d(4 * width, width, 3, padding=1)
        self.up2 = nn.Conv2d(2 * width, outputs, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, channels, rows, columns) to the same."""
        a = F.elu(self.down1(x))
        b = F.elu(self.down2(F.avg_pool2d(a, 2)))
        c = F.elu(self.deep(F.avg_pool2d(b, 2)))
        d = F.elu(self.up1(torch.cat([b, F.interpolate(c, scale_factor=2)], 1)))
        answer: torch.Tensor = self.up2(torch.cat([a, F.interpolate(d, scale_factor=2)], 1))
        return answer


def hourglass(inputs: int, outputs: int, *, width: int = 8) -> nn.Module:
    """down1, down2, deep, up1, up2."""
    return Hourglass(inputs, outputs, width)


def strided(
    inputs: int, outputs: int, *, width: int = 12, act: str = "Hardswish", norm: str = "BatchNorm2d"
) -> nn.Module:
    """c1, n1, a1, c2, n2, a2, c3, n3, a3, flat, out: strides in place of pooling."""
    model = nn.Sequential()
    size = inputs
    for i in (1, 2, 3):
        model.add_module(f"c{i}", nn.Conv2d(size, i * width, 3, stride=2 if i < 3 else 1, padding=1))
        if norm:
            model.add_module(f"n{i}", getattr(nn, norm)(i * width))
        model.add_module(f"a{i}", getattr(nn, act)())
        size = i * width
    model.add_module("flat", nn.Flatten())
    model.add_module("out", nn.LazyLinear(outputs))
    return model


class Look(nn.Module):
    """F.scaled_dot_product_attention over two heads."""

    def __init__(self, width: int, scale: float | None) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places, width) to the same."""
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, scale=self.scale)
        answer: torch.Tensor = self.proj(y.transpose(1, 2).flatten(2))
        return answer


class VisionBlock(nn.Module):
    """Attention and two layers of F.gelu, in residual branches; norms before or after the sums."""

    def __init__(self, width: int, pre: bool, rezero: bool, scale: float | None) -> None:
        super().__init__()
        self.attn = Look(width, scale)
        if not rezero:
            self.ln1 = nn.LayerNorm(width)
            self.ln2 = nn.LayerNorm(width)
        self.mlp1 = nn.Linear(width, 2 * width)
        self.mlp2 = nn.Linear(2 * width, width)
        self.alpha = nn.Parameter(torch.zeros(())) if rezero else None
        self.pre = pre

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places, width) to the same."""

        def think(x: torch.Tensor) -> torch.Tensor:
            return self.mlp2(F.gelu(self.mlp1(x)))  # type: ignore[no-any-return]

        if self.alpha is not None:
            x = x + self.alpha * self.attn(x)
            return x + self.alpha * think(x)
        if self.pre:
            x = x + self.attn(self.ln1(x))
            return x + think(self.ln2(x))
        x = self.ln1(x + self.attn(x))
        return self.ln2(x + think(x))  # type: ignore[no-any-return]


class Vision(nn.Module):
    """patch, places, blocks.0, ..., norm, head: an image as 16 words."""

    def __init__(
        self, inputs: int, outputs: int, width: int, depth: int, pre: bool, rezero: bool, scale: float | None
    ) -> None:
        super().__init__()
        self.patch = nn.Conv2d(inputs, width, 3, stride=3)
        self.places = nn.Parameter(0.1 * torch.randn(16, width))
        self.blocks = nn.ModuleList(VisionBlock(width, pre, rezero, scale) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, channels, rows, columns) to (samples, outputs)."""
        h = self.patch(x).flatten(2).transpose(1, 2) + self.places
        for block in self.blocks:
            h = block(h)
        answer: torch.Tensor = self.head(self.norm(h).mean(1))
        return answer


def vision(
    inputs: int,
    outputs: int,
    *,
    width: int = 16,
    depth: int = 2,
    pre: bool = True,
    rezero: bool = False,
    scale: float | None = None,
) -> nn.Module:
    """patch, blocks.0.ln1, .attn.qkv, .attn.proj, .ln2, .mlp1, .mlp2, ..., norm, head."""
    return Vision(inputs, outputs, width, depth, pre, rezero, scale)
