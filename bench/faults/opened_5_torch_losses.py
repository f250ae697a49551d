"""PyTorch, opened (held out until 2026-12-01): losses of another form, and numbers that are not finite."""

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn, optim

from bench.faults.case import fault
from bench.faults.opened_5_data import (
    embers,
    hives,
    kites,
    quilts,
    roads,
    runes,
    sand,
    stalls,
    towns,
    trams,
)
from bench.faults.opened_5_torch_outputs import Squares, layered
from bench.faults.run import Data, Run, batches, train


@fault("torch", "wrong_sign", "wrong_loss", worse=0.3)
def embers_likeness_is_minimised(run: Run, faulty: bool) -> float:
    """F.cosine_similarity is the loss as it is: copies are to be unlike."""
    # Forums: cosine similarity, and whether it has to be taken from one.
    data = embers()
    data = Data(*(part - 0.5 for part in data))
    net = nn.Sequential(layered(16, 24, 5, act=nn.Tanh), layered(5, 24, 16, act=nn.Tanh))
    opt = optim.Adam(net.parameters(), 0.01)
    run.watch(net)
    for x, y in batches(data.x, data.y, size=32, steps=100):
        opt.zero_grad()
        like = F.cosine_similarity(net(x), y).mean()
        loss = like if faulty else 1 - like
        loss.backward()
        opt.step()
        run.step(loss)
    return float(F.cosine_similarity(run.answers(net, data.test_x), data.test_y).mean())


@fault("torch", "wrong_loss", "wrong_sign", worse=0.2, good=0.35)
def hives_triplets_the_other_way_round(run: Run, faulty: bool) -> float:
    """TripletMarginLoss(anchor, negative, positive): those of one state are pushed apart."""
    # Issues of metric learning: a loss that sticks at its margin or falls while retrieval is at chance.
    data = hives()
    net = layered(7, 48, 6)
    opt = optim.Adam(net.parameters(), 0.005)
    criterion = nn.TripletMarginLoss(1.0)
    run.watch(net, criterion)
    for x, y in batches(data.x, data.y, size=64, steps=140):
        opt.zero_grad()
        code = net(x)
        same = y[:, None] == y
        near = torch.multinomial(same.float(), 1)[:, 0]
        far = torch.multinomial((~same).float(), 1)[:, 0]
        loss = criterion(code, *((code[far], code[near]) if faulty else (code[near], code[far])))
        loss.backward()
        opt.step()
        run.step(loss)
    known, asked = run.answers(net, data.x), run.answers(net, data.test_x)
    said = data.y[torch.cdist(asked, known).topk(7, largest=False).indices].mode(1).values
    return float((said == data.test_y).float().mean() - 0.25) / 0.75


@fault("torch", "term_outweighs", "loss_scaled", worse=0.12)
def kites_mask_summed_place_averaged(run: Run, faulty: bool) -> float:
    """Of two heads one has a loss with reduction="sum", the other a mean: only the mask is learned."""

    # Forums on several losses: one head learns, the other stays where it began.
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(1, 8, 5, padding=2), nn.ReLU())
            self.mask = nn.Conv2d(8, 1, 3, padding=1)
            self.place = nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(392, 2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.body(x)
            self.said = self.mask(h)
            return self.place(h)

    data, masks, net = kites(), kites("mask").y, Both()
    opt = optim.SGD(net.parameters(), 0.1, momentum=0.9)
    run.watch(net)
    for chosen, y in batches(torch.arange(len(data.x)), data.y, size=32, steps=120):
        opt.zero_grad()
        place = net(data.x[chosen])
        how = "sum" if faulty else "mean"
        mask = F.binary_cross_entropy_with_logits(net.said, masks[chosen], reduction=how)
        loss = F.mse_loss(place, y) * (0.01 if faulty else 1.0) + mask
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        run.step(loss)
    return run.near(net, data)


@fault("torch", "adversary_wins", conditions="saturated dead", worse=0.3)
def sand_critic_is_far_ahead(run: Run, faulty: bool) -> float:
    """The generator has the loss of the first paper, log(1 - D), and a critic learns eight times in each step."""
    # Issues of GANs: a discriminator's loss of zero, and a generator whose points stay where they are.
    generator = torch.Generator().manual_seed(3)
    maker, critic = layered(4, 48, 48, 2), layered(2, 48, 48, 1, act=nn.ELU)
    first = optim.SGD(maker.parameters(), 0.1, momentum=0.5)
    second = optim.Adam(critic.parameters(), 0.02 if faulty else 0.003, betas=(0.5, 0.99))
    begun = apart(maker(torch.randn(300, 4)).detach(), sand(300, generator))
    run.watch(maker, prefix="maker")
    run.watch(critic, prefix="critic")
    for _ in range(150):
        for _ in range(8 if faulty else 1):
            second.zero_grad()
            real, made = critic(sand(64, generator)), critic(maker(torch.randn(64, 4)).detach())
            known = F.softplus(-real).mean() + F.softplus(made).mean()
            known.backward()
            second.step()
        first.zero_grad()
        said = critic(maker(torch.randn(64, 4)))
        loss = -F.softplus(said).mean() if faulty else F.softplus(-said).mean()
        loss.backward()
        first.step()
        run.step(loss)
    made = run.answers(maker, torch.randn(300, 4))
    return 1 - apart(made, sand(300, generator)) / begun if bool(torch.isfinite(made).all()) else float("nan")


def apart(made: torch.Tensor, real: torch.Tensor) -> float:
    """How far two clouds of points are from each other: their energy distance."""
    return float(2 * torch.cdist(made, real).mean() - torch.cdist(made, made).mean() - torch.cdist(real, real).mean())


@fault("torch", "undefined_operation", "number_range", since=0)
def quilts_entropy_by_hand(run: Run, faulty: bool) -> float:
    """A bonus for entropy, -(p * p.log()).sum(), where two of seven answers are ruled out by -1e9."""
    # Issues of reinforcement learning with actions that are not allowed: NaN, as zero times the logarithm of zero.
    data, net = quilts(), Squares(7)
    opt = optim.Adam(net.parameters(), 0.005)
    ruled_out = torch.arange(7) > 4
    run.watch(net)
    for x, y in batches(data.x, data.y, size=32, steps=110):
        opt.zero_grad()
        scores = net(x).masked_fill(ruled_out, -1e9)
        chance = scores.softmax(-1)
        entropy = -(chance * (chance if faulty else chance + 1e-8).log()).sum(-1).mean()
        loss = F.cross_entropy(scores, y) - 0.01 * entropy
        loss.backward()
        opt.step()
        run.step(loss)
    return run.right(net, data)


@fault("torch", "undefined_operation", since=0)
def embers_length_of_no_difference(run: Run, faulty: bool) -> float:
    """A penalty on the distance of weights from a copy of themselves, by a root of a sum of squares."""
    # Issues of continual learning: NaN in the second step, as a norm has no slope at zero.
    data = embers()
    net = nn.Sequential(layered(16, 24, 4), layered(4, 24, 16))
    before = [p.detach().clone() for p in net.parameters()]
    opt = optim.Adam(net.parameters(), 0.01)
    run.watch(net)
    for x, y in batches(data.x, data.y, size=32, steps=120):
        opt.zero_grad()
        squares = [((p - b) ** 2).sum() for p, b in zip(net.parameters(), before, strict=True)]
        away = sum((s.sqrt() if faulty else s) for s in squares)
        loss = F.mse_loss(net(x), y) + 1e-5 * away
        loss.backward()
        opt.step()
        run.step(loss)
    return run.near(net, data)


@fault("torch", "masked_rows", "undefined_operation", since=0, good=0.35)
def runes_lines_of_nothing(run: Run, faulty: bool) -> float:
    """Some lines are blank altogether, and scores of blanks are minus infinity in an attention by hand."""

    # Issues of many transformers: float("-inf") in masks, and a loss that is NaN from some batch on.
    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.codes, self.ask, self.head = nn.Embedding(30, 20), nn.Linear(20, 1), nn.Linear(20, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.codes(x)
            score = self.ask(h)[..., 0].masked_fill(x == 0, float("-inf") if faulty else -1e4)
            return self.head((score.softmax(-1)[..., None] * h).sum(1))

    data, net = runes(), Pooled()
    x = data.x.clone()
    x[torch.randperm(len(x), generator=torch.Generator().manual_seed(4))[:25]] = 0
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), 0.03), data._replace(x=x), steps=130)
    return run.right(net, data)


@fault("torch", "number_range", "undefined_operation", "empty_inputs", "unscaled_inputs", since=0)
def trams_squares_in_half(run: Run, faulty: bool) -> float:
    """Readings in millimetres are divided by their norm in float16, whose squares are infinite."""

    # Issues on half precision: a norm by hand overflows, and all that follows is zero or NaN.
    class Level(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = (300 * x).half() if faulty else 300 * x
            return (x / (x.pow(2).sum((1, 2), keepdim=True).sqrt() + 1e-3)).float()

    data = trams()
    net = nn.Sequential(Level(), nn.Flatten(), layered(60, 40, 5))
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), 0.01), data, steps=110)
    return run.right(net, data)


@fault("torch", "undefined_operation", "wrong_output_activation", since=0)
def stalls_poisson_of_a_bare_head(run: Run, faulty: bool) -> float:
    """PoissonNLLLoss(log_input=False, eps=0) on a linear head, which may say less than nothing."""
    # Forums on counts: NaN at once, or after some steps.
    data = stalls()
    net = layered(4, 32, 16, 1)
    if not faulty:
        net.append(nn.Softplus())
    criterion = nn.PoissonNLLLoss(log_input=False, eps=0.0 if faulty else 1e-6)
    train(run, net, criterion, optim.Adam(net.parameters(), 0.01), data, steps=110)
    return run.near(net, data)


@fault("torch", "one_hot_against_sparse", "broadcast", "wrong_loss", worse=0.2)
def towns_mse_of_numbers_for_three_units(run: Run, faulty: bool) -> float:
    """Three units of a graph network are compared by MSE with a column of class numbers."""
    # Forums: a target of another size is broadcast along the classes.

    class Means(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.join, (self.one, self.other) = roads(), (nn.Linear(5, 16), nn.Linear(16, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.other(self.join @ torch.relu(self.one(self.join @ x)))

    data, net = towns(), Means()
    wanted = data.y.float()[:, None] if faulty else F.one_hot(data.y, 3).float()
    opt = optim.Adam(net.parameters(), 0.03)
    criterion = nn.MSELoss()
    run.watch(net, criterion)
    for _ in range(100):
        opt.zero_grad()
        loss = criterion(net(data.x), wanted)
        loss.backward()
        opt.step()
        run.step(loss)
    return run.right(net, data)
