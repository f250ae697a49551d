"""PyTorch, opened (held out until 2026-11-30): losses, what is counted, and numbers that are not finite."""

import itertools

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn, optim

from bench.faults.case import fault
from bench.faults.data import as_column
from bench.faults.opened_3_data import (
    bars,
    headings,
    lines,
    moons,
    patients,
    second_largest,
    translated,
    votes,
)
from bench.faults.run import Run, batches, train


@fault("torch", "wrong_sign", "wrong_loss")
def patients_likelihood_without_its_minus(run: Run, faulty: bool) -> float:
    """loss = (y * p.log() + (1 - y) * (1 - p).log()).mean(), without the minus."""
    # Cross Validated: a logistic regression by hand whose accuracy falls while it trains.
    data = as_column(patients())
    net = nn.Sequential(nn.Linear(14, 32), nn.Tanh(), nn.Linear(32, 1), nn.Sigmoid())
    opt = optim.SGD(net.parameters(), lr=0.5)
    run.watch(net)
    for x, y in batches(data.x, data.y, size=64, steps=120):
        p = net(x).clamp(1e-5, 1 - 1e-5)
        loss = (y * p.log() + (1 - y) * (1 - p).log()).mean()
        loss = loss if faulty else -loss
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    return run.right_side(net, data, 0.5)


class Coder(nn.Module):
    """A variational coder of bars."""

    def __init__(self) -> None:
        super().__init__()
        self.enc = nn.Sequential(nn.Flatten(), nn.Linear(144, 64), nn.ReLU())
        self.mu, self.logvar = nn.Linear(64, 6), nn.Linear(64, 6)
        self.dec = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 144))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        h = self.enc(x)
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.exp(logvar / 2) * torch.randn_like(mu) if self.training else mu
        return self.dec(z), mu, logvar


class Copies(nn.Module):
    """The copies of a coder alone."""

    def __init__(self, coder: nn.Module) -> None:
        super().__init__()
        self.coder = coder

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.coder(x)[0]


@fault("torch", "term_outweighs", good=0.2, worse=0.15)
def bars_divergence_summed_error_averaged(run: Run, faulty: bool) -> float:
    """The copies' error is a mean over all pixels, the divergence a sum over the batch: all codes become alike."""
    # GitHub issues of several coders: a divergence of nearly zero, and blurred copies that are all the same.
    made = bars()
    data = made._replace(y=made.x.flatten(1), test_y=made.test_x.flatten(1))
    coder = Coder()
    opt = optim.Adam(coder.parameters(), lr=0.005)
    run.watch(coder)
    for x, y in batches(data.x, data.y, size=50, steps=200):
        copy, mu, logvar = coder(x)
        error = F.mse_loss(copy, y, reduction="mean" if faulty else "sum")
        divergence = -0.5 * (1 + logvar - mu.square() - logvar.exp()).sum()
        loss = error + (divergence if faulty else 0.1 * divergence)
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    return run.near(Copies(coder), data)


@fault("torch", "padding_counted", "unbalanced_labels", good=0.4)
def translated_padding_counted(run: Run, faulty: bool) -> float:
    """Thirteen of sixteen targets are padding, and CrossEntropyLoss has no ignore_index."""
    # Stack Overflow: a translator that answers with nothing but the sign for padding.
    data = translated()
    generator = torch.Generator().manual_seed(5)
    # In the middle of a sentence what is asked depends on its place: a word is heard only now and then.
    heard = torch.rand(data.x.shape, generator=generator) < 0.75
    noisy = torch.where(heard, data.x, 0)
    net = nn.Sequential(nn.Embedding(9, 8), nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 9))
    criterion = nn.CrossEntropyLoss() if faulty else nn.CrossEntropyLoss(ignore_index=0)
    opt = optim.SGD(net.parameters(), lr=0.15)
    run.watch(net, criterion)
    for x, y in batches(noisy, data.y, size=32, steps=90):
        loss = criterion(net(x).reshape(-1, 9), y.reshape(-1))
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    said, wanted = run.answers(net, data.test_x).argmax(-1), data.test_y
    return (float((said == wanted)[wanted > 0].float().mean()) - 0.125) / 0.875


@fault("torch", "unbalanced_labels", good=0.35)
def lines_all_background(run: Run, faulty: bool) -> float:
    """One pixel in eighteen belongs to a line; BCEWithLogitsLoss has no pos_weight, and all is background."""
    # Data Science Stack Exchange: a U-Net for small regions that finds none.
    data = lines()
    net = nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 1, 1)
    )
    criterion = nn.BCEWithLogitsLoss(pos_weight=None if faulty else torch.tensor(12.0))
    train(run, net, criterion, optim.SGD(net.parameters(), lr=0.1, momentum=0.9), data, size=16, steps=60)
    said, wanted = run.answers(net, data.test_x) > 0, data.test_y > 0.5
    both = float((said & wanted).sum())
    return 2 * both / float(said.sum() + wanted.sum())


@fault("torch", "undefined_operation")
def headings_angle_by_arccos(run: Run, faulty: bool) -> float:
    """The loss is acos of a cosine: where an answer is right to the last digit, its gradient is infinite."""
    # PyTorch forum and GitHub: a loss of rotations by torch.acos that is NaN after some steps.
    data = headings()
    net = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 2))
    opt = optim.Adam(net.parameters(), lr=0.01)
    run.watch(net)
    for x, y in batches(data.x, data.y, size=64, steps=150):
        cosine = (F.normalize(net(x)) * y).sum(1)
        least = 0.0 if faulty else 1e-4
        loss = torch.acos(cosine.clamp(-1 + least, 1 - least)).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    return run.near(nn.Sequential(net, Unit()), data)


class Unit(nn.Module):
    """Each row over its length."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.normalize(x)


@fault("torch", "undefined_operation")
def bars_distance_of_a_pair_to_itself(run: Run, faulty: bool) -> float:
    """A contrastive loss takes the root of a squared distance, and some pairs are a sample and itself."""
    # PyTorch forum: sqrt, whose gradient at zero is infinite, and a loss that turns to NaN in the second step.
    data = bars()
    net = nn.Sequential(nn.Flatten(), nn.Linear(144, 64), nn.ReLU(), nn.Linear(64, 8))
    opt = optim.Adam(net.parameters(), lr=0.003)
    run.watch(net)
    for x, y in batches(data.x, data.y, size=48, steps=120):
        code = net(x)
        squared = (code[:, None] - code).square().sum(-1)
        far = torch.sqrt(squared) if faulty else torch.sqrt(squared + 1e-8)
        same = (y[:, None] == y).float()
        loss = (same * squared + (1 - same) * F.relu(2 - far).square()).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    known, new = run.answers(net, data.x), run.answers(net, data.test_x)
    if not bool(torch.isfinite(new).all()):
        return float("nan")
    hit = data.y[torch.cdist(new, known).argmin(1)] == data.test_y
    return (4 * float(hit.float().mean()) - 1) / 3


@fault("torch", "undefined_operation")
def moons_logarithm_of_a_probability(run: Run, faulty: bool) -> float:
    """-(y * log(p) + (1 - y) * log(1 - p)) by hand: once the network is sure of a sample, log(0) times 0."""
    # Stack Overflow: a cross entropy by hand that is NaN as soon as the network has become good.
    data = as_column(moons(0.05))
    net = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    opt = optim.Adam(net.parameters(), lr=0.03)
    run.watch(net)
    for x, y in batches(data.x, data.y, size=100, steps=200):
        scores = 6 * net(x)
        p = torch.sigmoid(scores)
        by_hand = -(y * torch.log(p) + (1 - y) * torch.log(1 - p)).mean()
        loss = by_hand if faulty else F.binary_cross_entropy_with_logits(scores, y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    return run.right_side(net, data, 0.0)


@fault("torch", "masked_rows", "undefined_operation", good=0.4)
def votes_some_sequences_all_padding(run: Run, faulty: bool) -> float:
    """One sequence in fifty is empty, and masked_fill(mask, -inf) leaves its softmax nothing to look at."""
    # GitHub, pytorch/pytorch: nn.TransformerEncoder gives NaN where src_key_padding_mask is all True.
    data = votes()
    generator = torch.Generator().manual_seed(6)
    empty = torch.rand(len(data.x), generator=generator) < 0.02
    x = torch.where(empty[:, None], 0, data.x)

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(4, 16)
            self.ask, self.key, self.value = (nn.Linear(16, 16) for _ in range(3))
            self.ff = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            blank = x == 0
            if not faulty:
                blank = blank & ~blank.all(1, keepdim=True)
            h = self.embed(x)
            scores = (self.ask(h) @ self.key(h).transpose(1, 2) / 4).masked_fill(blank[:, None], float("-inf"))
            h = h + scores.softmax(-1) @ self.value(h)
            return self.ff(h.mean(1))

    net = Encoder()
    opt = optim.Adam(net.parameters(), lr=0.01)
    train(run, net, nn.CrossEntropyLoss(), opt, data._replace(x=x), size=32, steps=120)
    return run.right(net, data)


@fault("torch", "number_range")
def second_largest_halves_under_adam(run: Run, faulty: bool) -> float:
    """model.half() to save memory, and Adam with its epsilon of 1e-8, which is zero in float16."""
    # PyTorch forum: weights that are NaN after the first step of Adam in half precision.
    data = second_largest()
    data = data._replace(y=data.y[:, None], test_y=data.test_y[:, None])
    net = nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
    if faulty:
        net = net.half()
        data = data._replace(x=data.x.half(), y=data.y.half(), test_x=data.test_x.half())
    train(run, net, nn.MSELoss(), optim.Adam(net.parameters(), lr=0.005), data, size=50, steps=100)
    return run.near(net, data)


@fault("torch", "no_nonlinearity")
def moons_activation_given_no_input(run: Run, faulty: bool) -> float:
    """Three linear layers in forward, whose self.act is called by none of them."""
    # Stack Overflow: a deep network that is no better than logistic regression.
    data = moons(0.1)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.l1, self.l2, self.l3 = (nn.Linear(a, b) for a, b in itertools.pairwise((2, 32, 32, 2)))
            self.act = nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if faulty:
                return self.l3(self.l2(self.l1(x)))
            return self.l3(self.act(self.l2(self.act(self.l1(x)))))

    net = Net()
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), lr=0.02), data, size=50, steps=200)
    return run.right(net, data)
