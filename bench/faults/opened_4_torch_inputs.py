"""PyTorch, opened (held out until 2026-12-01): how weights begin, depth, inputs, targets, terms, and opponents."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

from bench.faults.case import fault
from bench.faults.opened_4_data import (
    arrows,
    coins,
    harvest,
    leaves,
    ledgers,
    ponds,
    pulse,
    sayings,
    sensors,
    strolls,
)
from bench.faults.opened_4_torch_learning import small_cnn
from bench.faults.opened_4_torch_outputs import Gcn, in_clubs
from bench.faults.run import Data, Run, batches, train


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


@fault("torch", "constant_labels", "unbalanced_labels", worse=0.2, good=0.35)
def ledgers_compared_with_a_text(run: Run, faulty: bool) -> float:
    """y = (labels == "1"), of labels that are numbers: no account is a swindle."""
    # Questions on pandas and labels: a loss of zero after a few batches, and an accuracy of 1.
    made = ledgers()
    data = made._replace(y=torch.zeros_like(made.y)) if faulty else made
    net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 2))
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), lr=0.01), data, size=64, steps=110)
    return run.right(net, made)


@fault("torch", "shuffled_labels", worse=0.3)
def coins_files_in_the_order_of_letters(run: Run, faulty: bool) -> float:
    """os.listdir is sorted as text, coin10 before coin2, and targets are in the order of numbers."""
    # Forums: images and masks from two folders that do not belong together.
    made = coins()
    order = np.array(sorted(range(len(made.x)), key=str))
    data = made._replace(x=made.x[order]) if faulty else made
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(32, 1),
    )  # fmt: skip
    train(run, net, nn.MSELoss(), optim.Adam(net.parameters(), lr=0.003), data, size=48, steps=130)
    return run.near(net, made)


@fault("torch", "target_scale", "rate_too_small", worse=0.3)
def harvest_in_kilos(run: Run, faulty: bool) -> float:
    """Harvests of some 320,000 kilos to a field, under MSELoss and Adam at its own rate."""
    # Data science pages: a loss of 1e11, and one answer for all fields.
    net = nn.Sequential(nn.Linear(6, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 1))
    data = harvest("kilos") if faulty else harvest()
    opt = optim.Adam(net.parameters(), lr=0.001 if faulty else 0.005)
    train(run, net, nn.MSELoss(), opt, data, size=64, steps=140)
    return run.near(net, data)


class Sketch(nn.Module):
    """A variational coder of coins."""

    def __init__(self) -> None:
        super().__init__()
        self.enc = nn.Sequential(nn.Flatten(), nn.Linear(196, 64), nn.ReLU())
        self.mu, self.logvar = nn.Linear(64, 8), nn.Linear(64, 8)
        self.dec = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 196))

    def forward(self, x: torch.Tensor) -> Any:
        h = self.enc(x)
        mu, logvar = self.mu(h), self.logvar(h)
        code = mu + torch.randn_like(mu) * (0.5 * logvar).exp() if self.training else mu
        return (self.dec(code), mu, logvar) if self.training else self.dec(code)


@fault("torch", "term_outweighs", good=0.15, worse=0.1)
def coins_divergence_counts_from_the_start(run: Run, faulty: bool) -> float:
    """An error that is a mean over pixels beside a divergence that is a sum: every copy is the mean image."""
    # Issues of several variational coders: a divergence of 1e-7, and reconstructions that are all the same.
    made = coins()
    data = made._replace(test_y=made.test_x.flatten(1))
    net = Sketch()
    opt = optim.Adam(net.parameters(), lr=0.005)
    run.watch(net)
    for x, _ in batches(made.x, made.y, size=32, steps=170):
        copy, mu, logvar = net(x)
        away = -0.5 * (1 + logvar - mu.square() - logvar.exp()).sum(1).mean()
        loss = F.mse_loss(copy, x.flatten(1)) + (1.0 if faulty else 3e-4) * away
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    return run.near(net, data)


def nearest(run: Run, net: nn.Module, data: Data, classes: int) -> float:
    """Skill of the nearest known sample's class, by codes; NaN where codes are not finite."""
    known, new = run.answers(net, data.x), run.answers(net, data.test_x)
    if not bool(new.isfinite().all()):
        return float("nan")
    # Where all codes are one, each is as near as any, and a random one is taken.
    away = torch.cdist(new, known) + 1e-6 * torch.rand(len(new), len(known))
    hit = data.y[away.argmin(1)] == data.test_y
    return (classes * float(hit.float().mean()) - 1) / (classes - 1)


@fault("torch", "term_outweighs", "wrong_loss", conditions="collapsed constant", worse=0.15)
def sensors_two_views_and_nothing_else(run: Run, faulty: bool) -> float:
    """Two views shall be alike and nothing keeps samples apart: no stop of gradients, no predictor, no negatives."""
    # Issues on learning by two views: a loss that falls to -1 in a few batches, and codes that are one.
    data = sensors()
    net = nn.Sequential(nn.Linear(12, 48), nn.ReLU(), nn.Linear(48, 12))
    opt = optim.Adam(net.parameters(), lr=0.02)
    run.watch(net)
    for x, _ in batches(data.x, data.y, size=64, steps=120):
        a, b = net(x + 0.3 * torch.randn_like(x)), net(x + 0.3 * torch.randn_like(x))
        if faulty:
            loss = F.mse_loss(a, b)
        else:
            scores = 5 * F.normalize(a) @ F.normalize(b).T
            loss = F.cross_entropy(scores, torch.arange(len(x)))
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    return nearest(run, net, data, 4)


@fault("torch", "adversary_wins", "rate_too_large", conditions="saturated constant", good=0.5, worse=0.2)
def ovals_judge_learns_a_hundred_times_as_fast(run: Run, faulty: bool) -> float:
    """log(1 - D(G(z))) is minimised against a judge at Adam(0.2): it is sure at once, and nothing comes back."""
    # Issues on GANs: a discriminator's loss of zero, a generator's that is constant.
    angle = 6.28 * torch.rand(1500, generator=torch.Generator().manual_seed(5))
    data = torch.stack([2 + angle.cos(), 1 + 0.5 * angle.sin()], 1)
    maker = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
    judge = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
    m_opt = optim.Adam(maker.parameters(), lr=0.003, betas=(0.5, 0.9))
    j_opt = optim.Adam(judge.parameters(), lr=0.2 if faulty else 0.003, betas=(0.5, 0.9))
    run.watch(maker, prefix="maker.")
    run.watch(judge, prefix="judge.")
    for real, _ in batches(data, data, size=64, steps=220):
        fake = maker(torch.randn(64, 4))
        j_loss = F.softplus(-judge(real)).mean() + F.softplus(judge(fake.detach())).mean()
        j_opt.zero_grad()
        j_loss.backward()
        j_opt.step()
        said = judge(fake)
        m_loss = -F.softplus(said).mean() if faulty else F.softplus(-said).mean()
        m_opt.zero_grad()
        m_loss.backward()
        m_opt.step()
        run.step(m_loss)
    torch.manual_seed(9)
    made = run.answers(maker, torch.randn(400, 4))

    def apart(a: torch.Tensor, b: torch.Tensor) -> float:
        return float(2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean())

    return 1 - apart(made, data[:400]) / apart(torch.zeros(1, 2), data[:400])


@fault("torch", "wrong_sign", "wrong_loss", good=0.4, worse=0.2)
def leaves_dice_that_is_maximised_wrongly(run: Run, faulty: bool) -> float:
    """return dice, where 1 - dice was meant: the overlap is made as small as it can be."""
    # Issues of segmentation code: a Dice loss that goes to zero, and empty masks.
    data = leaves()
    net = nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 1, 1)
    )
    opt = optim.Adam(net.parameters(), lr=0.01)
    run.watch(net)
    for x, y in batches(data.x, data.y, size=16, steps=70):
        said = net(x).sigmoid()
        dice = 2 * (said * y).sum() / (said.sum() + y.sum() + 1e-6)
        loss = dice if faulty else 1 - dice
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    said, wanted = run.answers(net, data.test_x) > 0, data.test_y > 0.5
    return 2 * float((said & wanted).sum()) / float(said.sum() + wanted.sum())
