"""PyTorch, opened (held out until 2026-12-01): targets, terms, and opponents."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn, optim

from bench.faults.case import fault
from bench.faults.opened_4_data import (
    coins,
    harvest,
    leaves,
    ledgers,
    sensors,
)
from bench.faults.run import Data, Run, batches, train


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
