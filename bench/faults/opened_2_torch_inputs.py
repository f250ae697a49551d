"""PyTorch, opened (held out until 2026-11-30): initialisation and depth; inputs and targets."""

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn, optim

from bench.faults.case import fault
from bench.faults.opened_2_data import (
    brain,
    colours,
    glyphs,
    graphs,
    hearts,
    hires,
    houses,
    letter_names,
    motion_scaled,
    payments,
    pendulum,
    shape_kinds,
)
from bench.faults.opened_2_nets import GlyphNet, GraphNet, dense
from bench.faults.run import Run, batches, train


@fault("torch", "vanishing_depth", "initialisation_too_small")
def motion_thirty_layers_without_shortcuts(run: Run, faulty: bool) -> float:
    """Thirty linear layers with ReLU, as PyTorch makes them; the twin adds what came in."""
    data = motion_scaled()

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(48, 48)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.relu(self.fc(x)) if faulty else x + 0.3 * F.relu(self.fc(x))

    model = nn.Sequential(nn.Flatten(), nn.Linear(120, 48), *(Block() for _ in range(30)), nn.Linear(48, 4))
    train(run, model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.001), data, steps=120)
    return run.right(model, data)


@fault("torch", "vanishing_depth")
def hearts_last_state_of_64(run: Run, faulty: bool) -> float:
    """A plain RNN reads 64 values and only its last state is asked; the twin takes the largest of all states."""
    data = hearts()

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.RNN(1, 24, batch_first=True)
            self.out = nn.Linear(24, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            states, last = self.rnn(x[..., None])
            return self.out(last[-1] if faulty else states.amax(1))

    model = Reader()
    train(run, model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.003), data, steps=200)
    return run.right(model, data)


class Adapted(nn.Module):
    """A frozen linear layer and a product of two small matrices beside it."""

    def __init__(self, layer: nn.Linear, *, faulty: bool) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(requires_grad=False)
        self.a = nn.Parameter(torch.zeros(8, layer.in_features))
        self.b = nn.Parameter(torch.zeros(layer.out_features, 8))
        if not faulty:
            nn.init.kaiming_uniform_(self.a)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) + x @ self.a.T @ self.b.T


@fault("torch", "zero_initialisation")
def glyph_both_adapters_zero(run: Run, faulty: bool) -> float:
    """LoRA for letters that come in another order; both of its matrices begin at zero, where one should."""
    data = glyphs()
    model = dense(256, 64, 8)
    optimizer = optim.Adam(model.parameters(), lr=0.003)
    for x, y in batches(data.x.flatten(1), data.y, steps=200):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    other = data._replace(
        x=data.x.flatten(1), y=(data.y + 3) % 8, test_x=data.test_x.flatten(1), test_y=(data.test_y + 3) % 8
    )
    adapted = nn.Sequential(*(Adapted(it, faulty=faulty) if isinstance(it, nn.Linear) else it for it in model))
    wanted = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    train(run, adapted, nn.CrossEntropyLoss(), optim.Adam(wanted, lr=0.01), other, steps=150)
    return run.right(adapted, other)


class Dense(nn.Module):
    """A linear layer written by hand, with weights from a normal distribution."""

    def __init__(self, wide: int, narrow: int, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(wide, narrow) * scale)
        self.bias = nn.Parameter(torch.zeros(narrow))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight + self.bias


@fault("torch", "initialisation_too_large")
def pendulum_layers_by_hand(run: Run, faulty: bool) -> float:
    """nn.Parameter(torch.randn(128, 128)) in layers of one's own: sums are 11 times too large, each time."""
    data = pendulum()
    scales = (1.0, 1.0, 1.0) if faulty else (0.5, 0.1, 0.1)
    model = nn.Sequential(
        Dense(4, 128, scales[0]), nn.ReLU(), Dense(128, 128, scales[1]), nn.ReLU(), Dense(128, 2, scales[2])
    )
    train(run, model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.001), data, size=64, steps=200)
    return run.near(model, data)


@fault("torch", "exploding_depth", "initialisation_too_large", conditions="outlier_channels")
def houses_residuals_without_norm(run: Run, faulty: bool) -> float:
    """Sixteen residual blocks with He's initialisation and no norm: each doubles what comes in."""
    data = houses()

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.Identity() if faulty else nn.LayerNorm(32)
            self.fc1 = nn.Linear(32, 32)
            self.fc2 = nn.Linear(32, 32)
            nn.init.kaiming_normal_(self.fc1.weight)
            nn.init.kaiming_normal_(self.fc2.weight)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.fc2(F.relu(self.fc1(self.norm(x))))

    last = nn.Identity() if faulty else nn.LayerNorm(32)
    model = nn.Sequential(nn.Linear(5, 32), *(Block() for _ in range(16)), last, nn.Linear(32, 1))
    train(run, model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.001), data, size=64, steps=100)
    return run.near(model, data)


@fault("torch", "zero_initialisation", "dead_units", conditions="constant")
def shape_kinds_scale_of_norms_zero(run: Run, faulty: bool) -> float:
    """Each norm's weight begins at zero, as one does at the end of a residual block; there are none here."""
    data = shape_kinds()
    model = GlyphNet(3)
    if faulty:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.zeros_(module.weight)
    train(run, model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.003), data, steps=100)
    return run.right(model, data)


@fault("torch", "unequal_features", "unscaled_inputs")
def houses_raw_features(run: Run, faulty: bool) -> float:
    """Feet, years, metres and dollars go in as they are; the price is standardised."""
    data = houses()
    if faulty:
        raw = houses(True)
        data = data._replace(x=raw.x, test_x=raw.test_x)
    model = dense(5, 64, 32, 1)
    train(run, model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.01, momentum=0.9), data, steps=150)
    return run.near(model, data)


@fault("torch", "unscaled_inputs", "empty_inputs")
def glyph_normalised_as_if_bytes(run: Run, faulty: bool) -> float:
    """(image - 127.5) / 127.5 of images from 0 to 1: all that goes in is -1, but for a hundredth."""
    data = glyphs()
    middle = 127.5 if faulty else 0.5
    x, test_x = ((part - middle) / middle for part in (data.x, data.test_x))
    model = GlyphNet(8, norm=False)
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    train(run, model, nn.CrossEntropyLoss(), optimizer, data._replace(x=x, test_x=test_x), steps=200)
    return run.right(model, data._replace(test_x=test_x))


@fault("torch", "missing_values", "undefined_operation")
def names_standardised_by_no_spread(run: Run, faulty: bool) -> float:
    """How often each of 30 signs occurs, standardised; three never do, and 0 / 0 is NaN."""
    made = letter_names()
    x, test_x = (F.one_hot(part, 30).float().sum(1) for part in (made.x, made.test_x))
    mean, std = x.mean(0), x.std(0)
    std = std if faulty else std.clamp(min=1e-6)
    data = made._replace(x=(x - mean) / std, test_x=((test_x - mean) / std).nan_to_num())
    model = dense(30, 48, 4)
    train(run, model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.01), data, steps=60)
    return run.right(model, data)


@fault("torch", "missing_values", "targets_outside_loss_range")
def brain_targets_with_gaps(run: Run, faulty: bool) -> float:
    """One target in a hundred is NaN, which one batch in four has."""
    data = brain()
    gaps = torch.rand(len(data.y)) < 0.01
    seen = data._replace(y=torch.where(gaps[:, None], torch.nan, data.y)) if faulty else data
    model = nn.Sequential(nn.Flatten(), *dense(48, 32, 1))
    train(run, model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.005), seen, steps=80)
    return run.near(model, data)


@fault("torch", "sorted_data", "constant_labels")
def glyph_sorted_and_never_shuffled(run: Run, faulty: bool) -> float:
    """Images come folder by folder, a letter in each, and the loader does not shuffle."""
    data = glyphs()
    order = data.y.argsort(stable=True) if faulty else torch.randperm(len(data.y))
    model = nn.Sequential(nn.Flatten(), *dense(256, 48, 8))
    optimizer = optim.Adam(model.parameters(), lr=0.005)
    criterion = nn.CrossEntropyLoss()
    run.watch(model, criterion)
    for step in range(180):
        chosen = order[step % 90 * 16 :][:16]
        optimizer.zero_grad()
        loss = criterion(model(data.x[chosen]), data.y[chosen])
        loss.backward()
        optimizer.step()
        run.step(loss)
    return run.right(model, data)


@fault("torch", "same_batch", good=0.4)
def colours_seed_in_the_loop(run: Run, faulty: bool) -> float:
    """torch.manual_seed(0) in the loop, for the sake of repeatability: the same 12 samples are drawn each time."""
    data = colours()
    model = dense(3, 48, 48, 8)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    criterion = nn.CrossEntropyLoss()
    run.watch(model, criterion)
    for _ in range(150):
        if faulty:
            torch.manual_seed(0)
        chosen = torch.randperm(len(data.x))[:12]
        optimizer.zero_grad()
        loss = criterion(model(data.x[chosen]), data.y[chosen])
        loss.backward()
        optimizer.step()
        run.step(loss)
    return run.right(model, data)


@fault("torch", "shuffled_labels")
def graphs_from_two_loaders(run: Run, faulty: bool) -> float:
    """zip of a loader for graphs and one for labels, each of which shuffles for itself."""
    data = graphs()
    model = GraphNet()
    optimizer = optim.Adam(model.parameters(), lr=0.005)
    criterion = nn.MSELoss()
    run.watch(model, criterion)
    first = list(batches(data.x, data.y, steps=180))
    second = list(batches(data.x, data.y, steps=180))
    for (x, y), (_, other) in zip(first, second, strict=True):
        optimizer.zero_grad()
        loss = criterion(model(x), other if faulty else y)
        loss.backward()
        optimizer.step()
        run.step(loss)
    return run.near(model, data)


@fault("torch", "constant_labels")
def hires_share_cast_to_int(run: Run, faulty: bool) -> float:
    """Hires as a share of what a stand holds go through a table of whole numbers, and all are 0."""
    data = hires(4.0)
    y, test_y = data.y / (data.y.max() + 1), data.test_y / (data.y.max() + 1)
    seen = data._replace(y=y.int().float() if faulty else y)
    model = nn.Sequential(*dense(8, 48, 1), nn.Sigmoid())
    train(run, model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.02), seen, size=64, steps=120)
    return run.near(model, data._replace(test_y=test_y))


@fault("torch", "target_scale", "rate_too_large")
def brain_in_volts(run: Run, faulty: bool) -> float:
    """Readings in volts, of which fifty millionths are much: targets are far less than what one step changes."""
    data = brain()
    scale = 5e-5 if faulty else 1.0
    data = data._replace(y=data.y * scale, test_y=data.test_y * scale)
    model = nn.Sequential(nn.Flatten(), *dense(48, 32, 1))
    train(run, model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.003), data, steps=150)
    return run.near(model, data)


@fault("torch", "target_scale", "rate_too_small")
def houses_in_dollars(run: Run, faulty: bool) -> float:
    """Prices of some 400,000 dollars under MSELoss and Adam at its own rate: 300 steps lead nowhere."""
    data = houses()
    if faulty:
        raw = houses(True)
        data = data._replace(y=raw.y, test_y=raw.test_y)
    model = dense(5, 64, 64, 1)
    train(run, model, nn.MSELoss(), optim.Adam(model.parameters()), data, size=64, steps=300)
    return run.near(model, data)


@fault("torch", "unbalanced_labels", good=0.4)
def payments_one_fraud_in_a_hundred(run: Run, faulty: bool) -> float:
    """One payment in a hundred is a fraud: a network that never says so is right 99 times."""
    wanted = payments(0.5)
    data = payments(0.01) if faulty else wanted
    model = dense(10, 32, 32, 2)
    train(run, model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1, momentum=0.9), data, steps=200)
    return run.right(model, wanted)
