"""PyTorch, opened (held out until 2026-12-01): how weights begin, depth, and inputs."""

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

from bench.faults.case import fault
from bench.faults.opened_4_data import (
    arrows,
    harvest,
    ledgers,
    ponds,
    pulse,
    sayings,
    sensors,
    strolls,
)
from bench.faults.opened_4_torch_learning import small_cnn
from bench.faults.opened_4_torch_outputs import Gcn, in_clubs
from bench.faults.run import Run, train


@fault("torch", "zero_initialisation", worse=0.2)
def strolls_constant_weights(run: Run, faulty: bool) -> float:
    """nn.init.constant_(m.weight, 0.1) for each layer: all units of a layer are one."""
    # Pages on initialisation; forums: why all hidden units are equal.
    net = nn.Sequential(nn.Flatten(), nn.Linear(72, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 4))
    if faulty:
        for layer in net:
            if isinstance(layer, nn.Linear):
                nn.init.constant_(layer.weight, 0.1)
                nn.init.constant_(layer.bias, 0.0)
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), lr=0.005), strolls(), size=32, steps=120)
    return run.right(net, strolls())


@fault("torch", "initialisation_too_large", worse=0.2)
def arrows_gain_of_twelve(run: Run, faulty: bool) -> float:
    """nn.init.xavier_normal_(w, gain=12) in front of each tanh: all of them are at their ends."""
    # Issues of GAN and RNN code: gains that were tried and left; a loss of thousands in the first batch.
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.Tanh(), nn.Conv2d(8, 8, 3, stride=2), nn.Tanh(), nn.Flatten(), nn.Linear(128, 32),
        nn.Tanh(), nn.Linear(32, 4),
    )  # fmt: skip
    for layer in net:
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.xavier_normal_(layer.weight, gain=12.0 if faulty else 1.0)
    opt = optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    train(run, net, nn.CrossEntropyLoss(), opt, arrows(), size=32, steps=120)
    return run.right(net, arrows())


@fault("torch", "dead_units", conditions="constant", worse=0.2, good=0.35)
def ledgers_bias_of_minus_eight(run: Run, faulty: bool) -> float:
    """The prior's bias of a focal loss, meant for the last layer, goes to all of them: no ReLU ever fires."""
    # Issues of detectors: the bias of -log((1 - p) / p), and where it belongs.
    net = nn.Sequential(nn.Linear(10, 40), nn.ReLU(), nn.Linear(40, 20), nn.ReLU(), nn.Linear(20, 2))
    if faulty:
        for layer in net:
            if isinstance(layer, nn.Linear):
                nn.init.constant_(layer.bias, -8.0)
    train(run, net, nn.CrossEntropyLoss(), optim.SGD(net.parameters(), lr=0.1, momentum=0.8), ledgers(), steps=110)
    return run.right(net, ledgers())


@fault("torch", "vanishing_depth", worse=0.2)
def strolls_sigmoid_recurrence(run: Run, faulty: bool) -> float:
    """A cell by hand, sigmoid(Wx + Uh), over 24 readings, of which the last state is asked; the twin has a GRU."""

    # Questions on recurrent networks by hand that answer with one class.
    class Cell(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.new, self.old, self.out = nn.Linear(3, 24), nn.Linear(24, 24), nn.Linear(24, 4)
            self.gru = nn.GRUCell(3, 24)
            nn.init.normal_(self.old.weight, 0, 0.1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = x.new_zeros(len(x), 24)
            for now in x.unbind(1):
                h = torch.sigmoid(self.new(now) + self.old(h)) if faulty else self.gru(now, h)
            return self.out(h)

    net = Cell()
    if faulty:
        del net.gru
    else:
        del net.new, net.old
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), lr=0.01), strolls(), size=32, steps=150)
    return run.right(net, strolls())


@fault("torch", "vanishing_depth", "oversmoothing", conditions="collapsed", worse=0.2)
def friends_sixteen_layers_of_means(run: Run, faulty: bool) -> float:
    """Sixteen graph convolutions: means of means of means, until all people are alike; the twin has two."""
    # Issues and pages on oversmoothing: why a deeper graph network is worse, and answers with one class.
    net = Gcn(16 if faulty else 2, None, nn.Tanh)
    return in_clubs(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), lr=0.01), 90)


@fault("torch", "exploding_depth", "initialisation_too_large", worse=0.3)
def harvest_residuals_without_norms(run: Run, faulty: bool) -> float:
    """Thirty residual branches by He's initialisation, and no norm; the twin divides each by the root of thirty."""
    # Issues on deep residual networks without batch norm: a first loss of 1e9.
    much = 1.0 if faulty else 30**-0.5 * 0.3

    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.into, self.out = nn.Linear(6, 32), nn.Linear(32, 1)
            self.branches = nn.ModuleList(nn.Linear(32, 32) for _ in range(30))
            for name, value in self.branches.named_parameters():
                if name.endswith("weight"):
                    nn.init.kaiming_normal_(value)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.into(x)
            for branch in self.branches:
                h = h + much * branch(F.relu(h))
            return self.out(h)

    net = Deep()
    train(run, net, nn.MSELoss(), optim.Adam(net.parameters(), lr=0.003), harvest(), size=64, steps=110)
    return run.near(net, harvest())


@fault("torch", "unscaled_inputs", "rate_too_large", worse=0.2)
def arrows_bytes_into_linear_layers(run: Run, faulty: bool) -> float:
    """Pixels from 0 to 255 go into linear layers, under the SGD of a tutorial."""
    # Question-and-answer pages: a loss of thousands, then one class for all.
    data = arrows()
    if faulty:
        data = data._replace(x=(255 * data.x).round(), test_x=(255 * data.test_x).round())
    net = nn.Sequential(nn.Flatten(), nn.Linear(144, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4))
    opt = optim.SGD(net.parameters(), lr=0.1, momentum=0.8)
    train(run, net, nn.CrossEntropyLoss(), opt, data, size=32, steps=150)
    return run.right(net, data)


@fault("torch", "unequal_features", "unscaled_inputs", worse=0.2)
def harvest_grains_beside_acids(run: Run, faulty: bool) -> float:
    """Millimetres, hours, pH and millions of grains go in as they are."""
    # Data science pages: a regression on a table that was not standardised, whose loss is enormous.
    data = harvest("raw") if faulty else harvest()
    net = nn.Sequential(nn.Linear(6, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 1))
    train(run, net, nn.MSELoss(), optim.Adam(net.parameters(), lr=0.005), data, size=64, steps=130)
    return run.near(net, data)


@fault("torch", "missing_values")
def pulse_a_sensor_falls_out(run: Run, faulty: bool) -> float:
    """Where the sensor fell out there is NaN: one series in fifty has one."""
    # Forums: find the NaN; "it was in the data".
    made = pulse()
    x = made.x.clone()
    out = torch.rand(len(x), generator=torch.Generator().manual_seed(3)) < 0.02
    x[out, 7] = float("nan") if faulty else 0.0

    class Next(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.out = nn.Conv1d(1, 16, 7), nn.Linear(16 * 24, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(torch.tanh(self.conv(x.transpose(1, 2))).flatten(1))

    net = Next()
    opt = optim.Adam(net.parameters(), lr=0.005)
    train(run, net, nn.MSELoss(), opt, made._replace(x=x), size=32, steps=110)
    return run.near(net, made)


@fault("torch", "missing_codes", "unscaled_inputs", "unequal_features", worse=0.15)
def sensors_nines_for_no_reading(run: Run, faulty: bool) -> float:
    """Where a sensor gave nothing, the table has -9999: one reading in forty."""
    # Data science pages: codes for missing values that were standardised along with all others, or not at all.
    made = sensors()
    generator = torch.Generator().manual_seed(4)

    def coded(x: torch.Tensor) -> torch.Tensor:
        return torch.where(torch.rand(x.shape, generator=generator) < 0.025, -9999.0 if faulty else 0.0, x)

    data = made._replace(x=coded(made.x), test_x=coded(made.test_x))
    net = nn.Sequential(nn.Linear(12, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 4))
    opt = optim.SGD(net.parameters(), lr=0.05, momentum=0.8)
    train(run, net, nn.CrossEntropyLoss(), opt, data, size=32, steps=110)
    return run.right(net, data)


@fault("torch", "empty_inputs", "unscaled_inputs", "same_batch", worse=0.2)
def arrows_scaled_thrice(run: Run, faulty: bool) -> float:
    """ToTensor divides by 255, and so do the dataset and the network: all images are black."""
    # Forums on ToTensor: an image that is divided twice, and a loss at the logarithm of the number of classes.
    data = arrows()
    if faulty:
        data = data._replace(x=data.x / 255**2, test_x=data.test_x / 255**2)
    net = small_cnn(4)
    opt = optim.SGD(net.parameters(), lr=0.1, momentum=0.8)
    train(run, net, nn.CrossEntropyLoss(), opt, data, size=32, steps=110)
    return run.right(net, data)


@fault("torch", "empty_inputs", "same_batch", good=0.35, worse=0.25)
def sayings_no_word_is_known(run: Run, faulty: bool) -> float:
    """The vocabulary has small letters and the sayings have capitals: vocab.get(word, 1) is 1 for each word."""
    # Questions on text classification that answers with one class: print what goes in.
    made = sayings()

    def looked_up(x: torch.Tensor) -> torch.Tensor:
        return x.clamp(max=1) if faulty else x

    data = made._replace(x=looked_up(made.x), test_x=looked_up(made.test_x))

    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb = nn.Embedding(40, 16, padding_idx=0)
            self.lstm, self.fc = nn.LSTM(16, 24, batch_first=True), nn.Linear(24, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.lstm(self.emb(x))[0].amax(1))

    net = Bag()
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), lr=0.01), data, size=32, steps=130)
    return run.right(net, data)


@fault("torch", "same_batch", worse=0.15)
def ponds_next_of_iter_in_the_loop(run: Run, faulty: bool) -> float:
    """x, y = next(iter(loader)) in each step, of a loader that does not shuffle: its first batch for ever."""
    # Forums: why next(iter(loader)) gives the same batch; and a training loss of zero beside a test at chance.
    data = ponds()
    net = nn.Sequential(nn.Linear(5, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 3))
    opt = optim.Adam(net.parameters(), lr=0.01)
    criterion = nn.CrossEntropyLoss()
    loader = DataLoader(TensorDataset(data.x, data.y), batch_size=24, shuffle=not faulty)
    run.watch(net, criterion)
    for _ in range(130):
        x, y = next(iter(loader))
        opt.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        opt.step()
        run.step(loss)
    return run.right(net, data)
