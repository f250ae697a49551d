"""Networks for sequences of the third part (held out until 2026-11-30)."""

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn

__all__ = [
    "beats", "gates", "independent", "linear_attention", "looking_back", "perceiver", "rotary", "state_space",
    "text_cnn",
]  # fmt: skip


class Gates(nn.Module):
    """An LSTM whose gates are layers: enter, forget, leave, value; start biases of the gate to forget at one."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.enter, self.forget, self.leave, self.value = (nn.Linear(inputs + width, width) for _ in range(4))
        self.enter_gate, self.forget_gate, self.leave_gate = (nn.Sigmoid() for _ in range(3))
        self.say = nn.Linear(width, outputs)
        nn.init.ones_(self.forget.bias)
        self.width = width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places, inputs) to (samples, outputs)."""
        h = cell = x.new_zeros(len(x), self.width)
        for now in x.unbind(1):
            both = torch.cat([now, h], 1)
            kept = self.forget_gate(self.forget(both)) * cell
            cell = kept + self.enter_gate(self.enter(both)) * torch.tanh(self.value(both))
            h = self.leave_gate(self.leave(both)) * torch.tanh(cell)
        answer: torch.Tensor = self.say(h)
        return answer


def gates(inputs: int, outputs: int, *, width: int = 24) -> nn.Module:
    """enter, forget, leave, value at each place, enter_gate, forget_gate, leave_gate, say."""
    return Gates(inputs, outputs, width)


class Independent(nn.Module):
    """IndRNN: each unit remembers itself alone, by a ReLU; read, unit, say."""

    def __init__(self, inputs: int, outputs: int, width: int, memory: float) -> None:
        super().__init__()
        self.read = nn.Linear(inputs, width)
        self.memory = nn.Parameter(memory * torch.rand(width))
        self.unit = nn.ReLU()
        self.second = nn.Linear(width, width)
        self.say = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places, inputs) to (samples, outputs)."""
        h = torch.zeros(len(x), len(self.memory))
        for now in self.read(x).unbind(1):
            h = self.unit(now + self.memory * h)
        answer: torch.Tensor = self.say(F.relu(self.second(h)))
        return answer


def independent(inputs: int, outputs: int, *, width: int = 32, memory: float = 1.0) -> nn.Module:
    """read, unit at each place, second, say."""
    return Independent(inputs, outputs, width, memory)


class Linear(nn.Module):
    """Attention without a softmax: features of keys are summed once, then looked up; query, key, value, join."""

    def __init__(self, width: int, feature: str) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.join = nn.Linear(width, width), nn.Linear(width, width)
        self.feature = getattr(F, feature)
        self.more = 1.0 if feature == "elu" else 0.0

    def forward(self, x: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """(samples, places, width) to the same."""
        q, k = (self.feature(layer(x)) + self.more for layer in (self.query, self.key))
        k = k * told[..., None]
        kept = k.transpose(1, 2) @ self.value(x)
        answer: torch.Tensor = self.join((q @ kept) / (q @ k.sum(1)[..., None]))
        return answer


class LinearAttention(nn.Module):
    """symbols, places, attn, norm1, up, down, norm2, head."""

    def __init__(self, inputs: int, outputs: int, width: int, feature: str) -> None:
        super().__init__()
        self.symbols, self.places = nn.Embedding(inputs, width), nn.Parameter(0.1 * torch.randn(24, width))
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Linear(width, feature)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places) to (samples, outputs)."""
        told = (x != 0).float()
        h = self.symbols(x) + self.places
        h = h + self.attn(self.norm1(h), told)
        h = h + self.down(F.silu(self.up(self.norm2(h))))
        answer: torch.Tensor = self.head((h * told[..., None]).sum(1) / told.sum(1, keepdim=True).clamp_min(1.0))
        return answer


def linear_attention(inputs: int, outputs: int, *, width: int = 24, feature: str = "elu") -> nn.Module:
    """symbols, norm1, attn.query, .key, .value, .join, norm2, up, down, head."""
    return LinearAttention(inputs, outputs, width, feature)


class Turning(nn.Module):
    """Attention whose queries and keys are turned by their places: qkv, out."""

    def __init__(self, width: int, length: int) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        angle = torch.arange(length)[:, None] * 100.0 ** -torch.linspace(0.0, 1.0, width // 4)
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())

    def turn(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, heads, places, size) to the same."""
        a, b = x.chunk(2, -1)
        cos, sin = self.get_buffer("cos"), self.get_buffer("sin")
        return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)

    def forward(self, x: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """(samples, places, width) to the same."""
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(self.turn(q), self.turn(k), v, attn_mask=seen[:, None, None])
        answer: torch.Tensor = self.out(y.transpose(1, 2).flatten(2))
        return answer


class Rotary(nn.Module):
    """signs, layers.0.attn, .norm1, .up, .down, .norm2, ..., head: blanks are not looked at, or nothing else is."""

    def __init__(self, inputs: int, outputs: int, width: int, depth: int, inverted: bool) -> None:
        super().__init__()
        self.signs = nn.Embedding(inputs, width)
        self.attn = nn.ModuleList(Turning(width, 24) for _ in range(depth))
        self.norm = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * depth))
        self.up = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(depth))
        self.down = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(depth))
        self.head = nn.Linear(width, outputs)
        self.inverted = inverted

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places) to (samples, outputs)."""
        told = x != 0
        h = self.signs(x)
        for i, (attn, up, down) in enumerate(zip(self.attn, self.up, self.down, strict=True)):
            h = h + attn(self.norm[2 * i](h), ~told if self.inverted else told)
            h = h + down(F.gelu(up(self.norm[2 * i + 1](h))))
        answer: torch.Tensor = self.head(h.masked_fill(~told[..., None], -1e4).amax(1))
        return answer


def rotary(inputs: int, outputs: int, *, width: int = 24, depth: int = 2, inverted: bool = False) -> nn.Module:
    """signs, attn.0.qkv, .out, norm.0, up.0, down.0, ..., head."""
    return Rotary(inputs, outputs, width, depth, inverted)


class LookingBack(nn.Module):
    """A decoder by PyTorch's own layers, with a mask of booleans: symbols, places, blocks, head (tied to symbols)."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.symbols, self.places = nn.Embedding(inputs, width), nn.Embedding(16, width)
        self.attn = nn.MultiheadAttention(width, 2, batch_first=True)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.head = nn.Linear(width, inputs, bias=False)
        self.head.weight = self.symbols.weight
        nn.init.normal_(self.symbols.weight, 0.0, 0.2)
        self.register_buffer("hidden", torch.ones(16, 16, dtype=torch.bool).triu(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places) to (samples, places, symbols)."""
        h = self.symbols(x) + self.places(torch.arange(x.shape[1]))
        y = self.norm1(h)
        h = h + self.attn(y, y, y, attn_mask=self.get_buffer("hidden"), need_weights=False)[0]
        h = h + self.down(F.relu(self.up(self.norm2(h))).square())
        answer: torch.Tensor = self.head(h)
        return answer


def looking_back(inputs: int, _outputs: int, *, width: int = 32) -> nn.Module:
    """symbols, places, norm1, attn, norm2, up, down, head."""
    return LookingBack(inputs, width)


class StateSpace(nn.Module):
    """A diagonal state that decays: read, decay (times a state at each place), mix, say."""

    def __init__(self, inputs: int, outputs: int, width: int, slowest: float, fastest: float) -> None:
        super().__init__()
        self.read = nn.Linear(inputs, width)
        self.decay = nn.Parameter(torch.linspace(slowest, fastest, width))
        self.mix = nn.Linear(width, width)
        self.say = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places, inputs) to (samples, outputs)."""
        entered = self.read(x)
        state = torch.zeros_like(entered[:, 0])
        for now in entered.unbind(1):
            state = self.decay * state + now
        answer: torch.Tensor = self.say(F.glu(torch.cat([self.mix(state), state], 1)))
        return answer


def state_space(
    inputs: int, outputs: int, *, width: int = 24, slowest: float = 0.95, fastest: float = 0.1
) -> nn.Module:
    """read, mix, say."""
    return StateSpace(inputs, outputs, width, slowest, fastest)


class Perceiver(nn.Module):
    """Queries of their own look at what was read: symbols, places, query, keys, values, softmax, say."""

    def __init__(self, inputs: int, outputs: int, width: int, sharp: float) -> None:
        super().__init__()
        self.symbols = nn.Embedding(inputs, width)
        self.places = nn.Parameter(torch.randn(8, width))
        self.asked = nn.Parameter(torch.randn(8, width))
        self.query, self.keys = nn.Linear(width, width), nn.Linear(width, width)
        self.values = nn.Linear(width, width)
        self.softmax = nn.Softmax(-1)
        self.norm = nn.LayerNorm(width)
        self.say = nn.Linear(width, outputs)
        self.scale = sharp / width**0.5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places) to (samples, places, outputs)."""
        h = self.symbols(x) + self.places
        scores = self.scale * self.query(self.asked) @ self.keys(h).transpose(1, 2)
        looked = self.softmax(scores) @ self.values(h)
        answer: torch.Tensor = self.say(self.norm(looked))
        return answer


def perceiver(inputs: int, outputs: int, *, width: int = 32, sharp: float = 1.0) -> nn.Module:
    """symbols, query, keys, values, softmax, norm, say."""
    return Perceiver(inputs, outputs, width, sharp)


class TextCnn(nn.Module):
    """Kim's: convolutions of three lengths, the largest of each over the places, dropout, head."""

    def __init__(self, inputs: int, outputs: int, width: int, drop: float) -> None:
        super().__init__()
        self.signs = nn.Embedding(inputs, width, padding_idx=0)
        self.grams = nn.ModuleList(nn.Conv1d(width, width, size) for size in (2, 3, 4))
        self.drop = nn.Dropout(drop)
        self.head = nn.Linear(3 * width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, places) to (samples, outputs)."""
        h = self.signs(x).transpose(1, 2)
        found = [F.relu(gram(h)).amax(2) for gram in self.grams]
        answer: torch.Tensor = self.head(self.drop(torch.cat(found, 1)))
        return answer


def text_cnn(inputs: int, outputs: int, *, width: int = 24, drop: float = 0.3) -> nn.Module:
    """signs, grams.0, grams.1, grams.2, drop, head."""
    return TextCnn(inputs, outputs, width, drop)


class Beats(nn.Module):
    """N-BEATS: each block takes off what it has explained, and adds to the forecast: blocks.0.fc1, .fc2, .past, ..."""

    def __init__(self, inputs: int, outputs: int, width: int, blocks: int) -> None:
        super().__init__()
        size = 16 * inputs
        self.fc1 = nn.ModuleList(nn.Linear(size, width) for _ in range(blocks))
        self.fc2 = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.past = nn.ModuleList(nn.Linear(width, size) for _ in range(blocks))
        self.next = nn.ModuleList(nn.Linear(width, outputs) for _ in range(blocks))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, 16, inputs) to (samples, outputs)."""
        left = x.flatten(1)
        answer = torch.zeros(())
        for fc1, fc2, past, following in zip(self.fc1, self.fc2, self.past, self.next, strict=True):
            h = F.relu(fc2(F.relu(fc1(left))))
            left = left - past(h)
            answer = answer + following(h)
        return answer


def beats(inputs: int, outputs: int, *, width: int = 32, blocks: int = 3) -> nn.Module:
    """fc1.0, fc2.0, past.0, next.0, fc1.1, ..."""
    return Beats(inputs, outputs, width, blocks)
