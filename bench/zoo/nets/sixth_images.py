"""Networks of images of the sixth part (held out until 2026-12-01)."""

import torch
from torch import nn

__all__ = ["by_rows", "grouped_steps", "looked_over", "strips", "two_scales", "up_again"]


class Strips(nn.Module):
    """across1, down1, act1, pool1, across2, down2, act2, pool2, flat, top: rows and columns by turns."""

    def __init__(self, inputs: int, outputs: int, width: int, act: str) -> None:
        super().__init__()
        self.across1 = nn.Conv2d(inputs, width, (1, 5), padding=(0, 2))
        self.down1 = nn.Conv2d(width, width, (5, 1), padding=(2, 0))
        self.act1, self.pool1 = getattr(nn, act)(), nn.MaxPool2d(2)
        self.across2 = nn.Conv2d(width, width, (1, 3), padding=(0, 1))
        self.down2 = nn.Conv2d(width, width, (3, 1), padding=(1, 0))
        self.act2, self.pool2 = getattr(nn, act)(), nn.MaxPool2d(2)
        self.flat, self.top = nn.Flatten(), nn.Linear(9 * width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs, 12, 12) to (samples, outputs)."""
        h = self.pool1(self.act1(self.down1(self.across1(x))))
        answer: torch.Tensor = self.top(self.flat(self.pool2(self.act2(self.down2(self.across2(h))))))
        return answer


def strips(inputs: int, outputs: int, *, width: int = 12, act: str = "ReLU") -> nn.Module:
    """across1, down1, act1, pool1, across2, down2, act2, pool2, flat, top."""
    return Strips(inputs, outputs, width, act)


class GroupedSteps(nn.Module):
    """stem, rest.0.(norm, act, conv), ..., pool, top: residual convolutions behind group or batch norms."""

    def __init__(self, inputs: int, outputs: int, width: int, depth: int, norm: str) -> None:
        super().__init__()
        self.stem = nn.Conv2d(inputs, width, 3, stride=2, padding=1)

        def level() -> nn.Module:
            if norm == "group":
                return nn.GroupNorm(4, width)
            return nn.BatchNorm2d(width) if norm == "batch" else nn.Identity()

        self.rest = nn.ModuleList(
            nn.ModuleDict({"norm": level(), "act": nn.ReLU(), "conv": nn.Conv2d(width, width, 3, padding=1)})
            for _ in range(depth)
        )
        self.pool, self.top = nn.AdaptiveMaxPool2d(2), nn.Linear(4 * width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs, 12, 12) to (samples, outputs)."""
        h = self.stem(x)
        for part in self.rest:
            assert isinstance(part, nn.ModuleDict)
            h = h + part["conv"](part["act"](part["norm"](h)))
        answer: torch.Tensor = self.top(self.pool(h).flatten(1))
        return answer


def grouped_steps(inputs: int, outputs: int, *, width: int = 16, depth: int = 2, norm: str = "group") -> nn.Module:
    """stem, rest.0.norm, rest.0.act, rest.0.conv, ..., pool, top."""
    return GroupedSteps(inputs, outputs, width, depth, norm)


class ByRows(nn.Module):
    """near, act, rows (GRU), top: a convolution, and a recurrent layer over its rows."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.near, self.act = nn.Conv2d(inputs, 6, 5, stride=2, padding=2), nn.ReLU()
        self.rows, self.top = nn.GRU(36, width, batch_first=True), nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs, 12, 12) to (samples, outputs)."""
        seen = self.act(self.near(x)).transpose(1, 2).flatten(2)
        answer: torch.Tensor = self.top(self.rows(seen)[0].amax(1))
        return answer


def by_rows(inputs: int, outputs: int, *, width: int = 24) -> nn.Module:
    """near, act, rows, top."""
    return ByRows(inputs, outputs, width)


class TwoScales(nn.Module):
    """fine, act1, coarse, act2, both, act3, top: the image, and the image at half its size."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.fine, self.act1 = nn.Conv2d(inputs, width, 5, stride=2, padding=2), nn.Mish()
        self.halve, self.coarse, self.act2 = nn.AvgPool2d(2), nn.Conv2d(inputs, width, 3, padding=1), nn.Mish()
        self.both, self.act3 = nn.Conv2d(2 * width, width, 3, padding=1), nn.Mish()
        self.top = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs, 12, 12) to (samples, outputs)."""
        seen = torch.cat([self.act1(self.fine(x)), self.act2(self.coarse(self.halve(x)))], 1)
        answer: torch.Tensor = self.top(self.act3(self.both(seen)).amax((2, 3)))
        return answer


def two_scales(inputs: int, outputs: int, *, width: int = 12) -> nn.Module:
    """fine, act1, halve, coarse, act2, both, act3, top."""
    return TwoScales(inputs, outputs, width)


class LookedOver(nn.Module):
    """cut, act, places, ask, over, top: patches, of which a learned question takes what it needs."""

    def __init__(self, inputs: int, outputs: int, width: int, sharp: float) -> None:
        super().__init__()
        self.cut, self.act = nn.Conv2d(inputs, width, 5, stride=1, padding=0), nn.ReLU()
        self.ask, self.values = nn.Linear(width, 4), nn.Linear(width, width)
        self.over, self.top = nn.Softmax(1), nn.Linear(4 * width, outputs)
        self.sharp = sharp

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs, 12, 12) to (samples, outputs)."""
        h = self.act(self.cut(x)).flatten(2).transpose(1, 2)
        looks = self.over(self.sharp * self.ask(h))
        answer: torch.Tensor = self.top((looks.transpose(1, 2) @ self.values(h)).flatten(1))
        return answer


def looked_over(inputs: int, outputs: int, *, width: int = 16, sharp: float = 1.0) -> nn.Module:
    """cut, act, ask, over, values, top."""
    return LookedOver(inputs, outputs, width, sharp)


class UpAgain(nn.Module):
    """near, act1, down, act2, up (transposed), act3, out: to half the size and back, beside what is near."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.near, self.act1 = nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()
        self.down, self.act2 = nn.Conv2d(width, 2 * width, 2, stride=2), nn.ReLU()
        self.up, self.act3 = nn.ConvTranspose2d(2 * width, width, 2, stride=2), nn.ReLU()
        self.out = nn.Conv2d(2 * width, outputs, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, inputs, 10, 10) to (samples, outputs, 10, 10)."""
        h = self.act1(self.near(x))
        back = self.act3(self.up(self.act2(self.down(h))))
        answer: torch.Tensor = self.out(torch.cat([h, back], 1))
        return answer


def up_again(inputs: int, outputs: int, *, width: int = 8) -> nn.Module:
    """near, act1, down, act2, up, act3, out."""
    return UpAgain(inputs, outputs, width)
