"""Networks for images of the third part (held out until 2026-11-30)."""

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn

__all__ = ["convnext", "gated_places", "inception", "inverted", "locator", "segmenter", "shuffled", "spatial"]


class Next(nn.Module):
    """x + gamma * pw2(gelu(pw1(norm(dw(x))))), gamma a number for each channel."""

    def __init__(self, width: int, gamma: float, last: float) -> None:
        super().__init__()
        self.dw = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.pw1 = nn.Linear(width, 3 * width)
        self.pw2 = nn.Linear(3 * width, width)
        self.gamma = nn.Parameter(torch.full((width,), gamma))
        with torch.no_grad():
            self.pw2.weight.mul_(last)
            self.pw2.bias.mul_(last)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, width, rows, columns) to the same."""
        h = self.norm(self.dw(x).permute(0, 2, 3, 1))
        h = self.gamma * self.pw2(F.gelu(self.pw1(h)))
        return x + h.permute(0, 3, 1, 2)  # type: ignore[no-any-return]


def convnext(
    inputs: int, outputs: int, *, width: int = 16, blocks: int = 2, gamma: float = 0.1, last: float = 1.0
) -> nn.Module:
    """patch, block1.dw, .norm, .pw1, .pw2, ..., pool, flat, head; `last`: a factor of the last weights of blocks."""
    model = nn.Sequential()
    model.add_module("patch", nn.Conv2d(inputs, width, 2, stride=2))
    for i in range(1, blocks + 1):
        model.add_module(f"block{i}", Next(width, gamma, last))
    model.add_module("pool", nn.AdaptiveMaxPool2d(2))
    model.add_module("flat", nn.Flatten())
    model.add_module("head", nn.Linear(4 * width, outputs))
    return model


class Mix(nn.Module):
    """Three ways of looking at one place, side by side: one, three, pool."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(inputs, width, 1)
        self.three = nn.Conv2d(inputs, width, 3, padding=1)
        self.pool = nn.Conv2d(inputs, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs, rows, columns) to (samples, 3 * width, rows, columns)."""
        pooled = self.pool(F.max_pool2d(x, 3, stride=1, padding=1))
        return F.relu(torch.cat([self.one(x), self.three(x), pooled], 1))


def inception(inputs: int, outputs: int, *, width: int = 8) -> nn.Module:
    """mix1, down1, mix2, down2, flat, drop, head."""
    model = nn.Sequential()
    for i, size in ((1, inputs), (2, 3 * width)):
        model.add_module(f"mix{i}", Mix(size, width))
        model.add_module(f"down{i}", nn.MaxPool2d(2))
    model.add_module("flat", nn.Flatten())
    model.add_module("drop", nn.Dropout(0.2))
    model.add_module("head", nn.LazyLinear(outputs))
    return model


class Inverted(nn.Module):
    """Wide between narrow ends: expand, even1, act1, depth, even2, act2, narrow, even3, and x where sizes are equal."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        wide = 3 * width
        self.expand = nn.Conv2d(inputs, wide, 1, bias=False)
        self.even1 = nn.BatchNorm2d(wide)
        self.act1 = nn.ReLU6()
        self.depth = nn.Conv2d(wide, wide, 3, stride=stride, padding=1, groups=wide, bias=False)
        self.even2 = nn.BatchNorm2d(wide)
        self.act2 = nn.ReLU6()
        self.narrow = nn.Conv2d(wide, width, 1, bias=False)
        self.even3 = nn.BatchNorm2d(width)
        self.whole = inputs == width and stride == 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs, rows, columns) to (samples, width, rows, columns)."""
        h = self.act2(self.even2(self.depth(self.act1(self.even1(self.expand(x))))))
        h = self.even3(self.narrow(h))
        return x + h if self.whole else h  # type: ignore[no-any-return]


def inverted(inputs: int, outputs: int, *, width: int = 8) -> nn.Module:
    """stem, cell1, cell2, cell3, pool, flat, head."""
    model = nn.Sequential()
    model.add_module("stem", nn.Conv2d(inputs, width, 3, padding=1))
    for i, stride in ((1, 2), (2, 1), (3, 2)):
        model.add_module(f"cell{i}", Inverted(width, width, stride))
    model.add_module("pool", nn.AdaptiveAvgPool2d(2))
    model.add_module("flat", nn.Flatten())
    model.add_module("head", nn.Linear(4 * width, outputs))
    return model


class Spatial(nn.Module):
    """Looks where to look first: see, theta (starts at the whole image), conv1, conv2, head."""

    def __init__(self, inputs: int, outputs: int, width: int, side: int) -> None:
        super().__init__()
        self.see = nn.Linear(inputs * side * side, 16)
        self.theta = nn.Linear(16, 6)
        nn.init.zeros_(self.theta.weight)
        with torch.no_grad():
            self.theta.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]))
        self.conv1 = nn.Conv2d(inputs, width, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.head = nn.LazyLinear(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs, side, side) to (samples, outputs)."""
        theta = self.theta(torch.tanh(self.see(x.flatten(1)))).view(-1, 2, 3)
        grid = F.affine_grid(theta, list(x.shape), align_corners=False)
        x = F.grid_sample(x, grid, align_corners=False)
        x = F.leaky_relu(self.conv2(F.leaky_relu(self.conv1(x))))
        answer: torch.Tensor = self.head(x.flatten(1))
        return answer


def spatial(inputs: int, outputs: int, *, width: int = 12, side: int = 12) -> nn.Module:
    """see, theta, conv1, conv2, head."""
    return Spatial(inputs, outputs, width, side)


class Segmenter(nn.Module):
    """Convolutions with holes, which see far at full size: near, far1, far2, wide, say."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.near = nn.Conv2d(inputs, width, 3, padding=1)
        self.far1 = nn.Conv2d(width, width, 3, padding=2, dilation=2)
        self.far2 = nn.Conv2d(width, width, 3, padding=4, dilation=4)
        self.wide = nn.Conv2d(width, width, 1)
        self.say = nn.Conv2d(2 * width, outputs, 1)
        self.act = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs, rows, columns) to (samples, rows, columns, outputs)."""
        near = self.act(self.near(x))
        h = self.act(self.far2(self.act(self.far1(near))))
        all_of = self.wide(F.adaptive_avg_pool2d(near, 1)).expand_as(near)
        answer: torch.Tensor = self.say(torch.cat([h, self.act(near + all_of)], 1))
        return answer.permute(0, 2, 3, 1)


def segmenter(inputs: int, outputs: int, *, width: int = 8) -> nn.Module:
    """near, act, far1, act, far2, act, wide, say."""
    return Segmenter(inputs, outputs, width)


class Locator(nn.Module):
    """Where is it, and how large: conv1, conv2, fc, centre, size (its logarithm)."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.fc = nn.Linear(32 * width, 32)
        self.centre = nn.Linear(32, 2)
        self.size = nn.Linear(32, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs, 16, 16) to (samples, 4)."""
        h = F.relu(self.conv2(F.relu(self.conv1(x)))).flatten(1)
        h = F.relu(self.fc(h))
        return torch.cat([self.centre(h), self.size(h).exp()], 1)


def locator(inputs: int, _outputs: int, *, width: int = 8) -> nn.Module:
    """conv1, conv2, fc, centre, size."""
    return Locator(inputs, width)


class GatedPlaces(nn.Module):
    """gMLP: half of the channels times a mixture of the other half over the places, which starts at one."""

    def __init__(self, places: int, width: int) -> None:
        super().__init__()
        self.before = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 2 * width)
        self.even = nn.LayerNorm(width)
        self.places = nn.Linear(places, places)
        self.back = nn.Linear(width, width)
        nn.init.normal_(self.places.weight, 0.0, 1e-3)
        nn.init.ones_(self.places.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places, width) to the same."""
        kept, gate = F.gelu(self.widen(self.before(x))).chunk(2, -1)
        gate = self.places(self.even(gate).transpose(1, 2)).transpose(1, 2)
        return x + self.back(kept * gate)  # type: ignore[no-any-return]


class GatedImage(nn.Module):
    """patch, blocks.0, blocks.1, ..., last, head."""

    def __init__(self, inputs: int, outputs: int, width: int, depth: int) -> None:
        super().__init__()
        self.patch = nn.Conv2d(inputs, width, 3, stride=3)
        self.blocks = nn.ModuleList(GatedPlaces(16, width) for _ in range(depth))
        self.last = nn.LayerNorm(width)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs, 12, 12) to (samples, outputs)."""
        h = self.patch(x).flatten(2).transpose(1, 2)
        for block in self.blocks:
            h = block(h)
        answer: torch.Tensor = self.head(self.last(h).mean(1))
        return answer


def gated_places(inputs: int, outputs: int, *, width: int = 24, depth: int = 2) -> nn.Module:
    """patch, blocks.0.before, .widen, .even, .places, .back, ..., last, head."""
    return GatedImage(inputs, outputs, width, depth)


class Shuffled(nn.Module):
    """Convolutions of groups, whose channels change places between them: in1, group1, group2, even, head."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.begin = nn.Conv2d(inputs, width, 3, padding=1)
        self.even = nn.ModuleList(nn.InstanceNorm2d(width, affine=True) for _ in range(2))
        self.group = nn.ModuleList(nn.Conv2d(width, width, 3, stride=2, padding=1, groups=4) for _ in range(2))
        self.mix = nn.ChannelShuffle(4)
        self.head = nn.Linear(9 * width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs, 12, 12) to (samples, outputs)."""
        h = self.begin(x)
        for even, group in zip(self.even, self.group, strict=True):
            h = F.leaky_relu(even(self.mix(group(h))), 0.1)
        answer: torch.Tensor = self.head(h.flatten(1))
        return answer


def shuffled(inputs: int, outputs: int, *, width: int = 16) -> nn.Module:
    """begin, group.0, mix, even.0, group.1, ..., head."""
    return Shuffled(inputs, outputs, width)
