"""PyTorch, opened (held out until 2026-12-01): numbers that are not finite, linear stacks, and what is counted."""

import itertools

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn, optim

from bench.faults.case import fault
from bench.faults.data import as_column
from bench.faults.opened_4_data import (
    calls,
    harvest,
    jingles,
    ledgers,
    ponds,
    pulse,
    sayings,
    sensors,
)
from bench.faults.run import Data, Run, batches, train


class Head(nn.Module):
    """A mean and a variance."""

    def __init__(self, *, softplus: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 40), nn.SiLU(), nn.Linear(40, 40), nn.SiLU(), nn.Linear(40, 2))
        self.softplus = softplus

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean, width = self.body(x).chunk(2, 1)
        return torch.cat([mean, F.softplus(width) + 1e-3 if self.softplus else width], 1)


class Mean(nn.Module):
    """The first column of another network."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)[:, :1]


@fault("torch", "undefined_operation", "wrong_output_activation")
def harvest_variance_below_zero(run: Run, faulty: bool) -> float:
    """A likelihood by hand of a mean and a variance, and nothing keeps the variance above zero: a logarithm is NaN."""
    # Issues on networks that tell how sure they are: a loss that is NaN in the first epoch.
    data = harvest()
    net = Head(softplus=not faulty)
    opt = optim.Adam(net.parameters(), lr=0.005)
    run.watch(net)
    for x, y in batches(data.x, data.y, size=64, steps=120):
        mean, variance = net(x).chunk(2, 1)
        loss = 0.5 * (variance.log() + (y - mean).square() / variance).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    return run.near(Mean(net), data)


@fault("torch", "undefined_operation", "wrong_output_activation", good=0.25)
def calls_logarithm_of_what_is_negative(run: Run, faulty: bool) -> float:
    """PoissonNLLLoss(log_input=False) of a linear layer: it takes the logarithm of what is below zero."""
    # Forums: NaN from a Poisson loss at once; the layer gives rates in one case and their logarithms in the other.
    data = calls()
    net = nn.Sequential(nn.Linear(4, 48), nn.ELU(), nn.Linear(48, 1))
    train(
        run,
        net,
        nn.PoissonNLLLoss(log_input=not faulty),
        optim.Adam(net.parameters(), lr=0.01),
        data,
        size=32,
        steps=100,
    )
    said = run.answers(net, data.test_x).clamp(max=5).exp()
    return float(1 - (said - data.test_y).square().mean() / data.test_y.var())


@fault("torch", "undefined_operation", "empty_inputs")
def pulse_each_series_over_its_own_deviation(run: Run, faulty: bool) -> float:
    """Each series is divided by its own deviation, and a few are flat: 0 / 0 in one batch in three."""
    # Pages and issues on normalising time series: a loss that is NaN now and then, then for ever.
    made = pulse()
    flat = torch.rand(len(made.x), generator=torch.Generator().manual_seed(1)) < 0.01
    x = torch.where(flat[:, None, None], 0.5, made.x)

    class Next(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru, self.out = nn.GRU(1, 24, batch_first=True), nn.Linear(24, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            least = 0.0 if faulty else 1e-5
            x = (x - x.mean(1, keepdim=True)) / (x.std(1, keepdim=True) + least)
            return self.out(self.gru(x)[0][:, -1])

    net = Next()
    opt = optim.Adam(net.parameters(), lr=0.01)
    train(run, net, nn.MSELoss(), opt, made._replace(x=x), size=32, steps=120)
    return run.near(net, made)


@fault(
    "torch",
    "exponential_overflows",
    "number_range",
    "undefined_operation",
    "initialisation_too_large",
    "unscaled_inputs",
)
def sensors_softmax_by_hand(run: Run, faulty: bool) -> float:
    """exp(scores) / exp(scores).sum(): in units of a hundredth, scores reach 100, and infinity over itself is NaN."""
    # Courses and pages on a stable softmax: NaN as soon as scores are large.
    data = sensors()
    net = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 4))
    opt = optim.SGD(net.parameters(), lr=0.02)
    run.watch(net)
    for x, y in batches(60 * data.x, data.y, size=32, steps=100):
        scores = net(x if faulty else x / 60)
        if faulty:
            chances = scores.exp() / scores.exp().sum(1, keepdim=True)
            loss = -chances[torch.arange(len(y)), y].log().mean()
        else:
            loss = F.cross_entropy(scores, y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    wanted = data._replace(test_x=60 * data.test_x if faulty else data.test_x)
    return run.right(net, wanted)


@fault("torch", "masked_rows", "undefined_operation", good=0.35)
def sayings_key_padding_mask_of_nothing(run: Run, faulty: bool) -> float:
    """A saying of no words at all: MultiheadAttention's key_padding_mask is True everywhere, and its answer NaN."""
    # GitHub issues of PyTorch: attention gives NaN where all keys are masked; a loss that is NaN from some batch on.
    made = sayings()
    none = torch.rand(len(made.x), generator=torch.Generator().manual_seed(2)) < 0.008
    x = torch.where(none[:, None], 0, made.x)

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb = nn.Embedding(40, 24, padding_idx=0)
            self.att = nn.MultiheadAttention(24, 2, batch_first=True)
            self.fc = nn.Linear(24, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            blank = x == 0
            if not faulty:
                blank = blank & ~blank.all(1, keepdim=True)
            h = self.emb(x)
            return self.fc((h + self.att(h, h, h, key_padding_mask=blank)[0]).mean(1))

    net = Encoder()
    opt = optim.Adam(net.parameters(), lr=0.005)
    train(run, net, nn.CrossEntropyLoss(), opt, made._replace(x=x), size=32, steps=150)
    return run.right(net, made)


@fault("torch", "no_nonlinearity", worse=0.2)
def ponds_a_norm_is_no_activation(run: Run, faulty: bool) -> float:
    """Linear, BatchNorm1d, Linear, BatchNorm1d, Linear: the activations were lost when norms were put in."""
    # Questions on deep networks that are no better than a linear one.
    net = nn.Sequential()
    for a, b in itertools.pairwise((5, 48, 48, 3)):
        net.append(nn.Linear(a, b))
        if b != 3:
            net.append(nn.BatchNorm1d(b))
            if not faulty:
                net.append(nn.ReLU())
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), lr=0.01), ponds(), size=64, steps=130)
    return run.right(net, ponds())


@fault("torch", "padding_counted", "unbalanced_labels", worse=0.15)
def jingles_mostly_padding(run: Run, faulty: bool) -> float:
    """Short jingles are padded to 40 notes, and CrossEntropyLoss counts each padding: it is answered everywhere."""
    # Issues on language models: a loss near zero, and nothing but padding is said.
    made = jingles()

    def padded(part: torch.Tensor) -> torch.Tensor:
        return F.pad(part[:, :3], (0, 37))

    net = nn.Sequential(nn.Embedding(12, 10), nn.Linear(10, 12))
    criterion = nn.CrossEntropyLoss() if faulty else nn.CrossEntropyLoss(ignore_index=0)
    opt = optim.SGD(net.parameters(), lr=0.8)
    run.watch(net, criterion)
    # Which notes were heard is known now and then only, so that what follows is uncertain.
    for x, y in batches(padded(made.x), padded(made.y), size=32, steps=80):
        heard = torch.where(torch.rand(x.shape) < 0.5, x, 0)
        loss = criterion(net(heard).flatten(0, 1), y.flatten())
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    said, wanted = run.answers(net, made.test_x).argmax(-1), made.test_y
    return (float((said == wanted).float().mean()) - 1 / 11) * 1.1


@fault("torch", "unbalanced_labels", good=0.3, worse=0.2)
def ledgers_one_swindle_in_eighty(run: Run, faulty: bool) -> float:
    """One account in eighty is a swindle, BCEWithLogitsLoss has no pos_weight, and an accuracy of 0.987 is reported."""
    # Data science pages: an accuracy of 0.99 from the first epoch on, and a recall of zero.
    wanted = as_column(ledgers())
    data = as_column(ledgers(0.0125)) if faulty else wanted
    net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))
    train(run, net, nn.BCEWithLogitsLoss(), optim.Adam(net.parameters(), lr=0.01), data, size=64, steps=130)
    return run.right_side(net, wanted, 0.0)


@fault("torch", "binary_loss_on_classes", "wrong_loss", "targets_outside_loss_range", worse=0.15)
def sensors_bce_against_the_numbers_of_classes(run: Run, faulty: bool) -> float:
    """BCEWithLogitsLoss of one unit against labels 0 to 3: the loss falls below zero and on."""
    # Forums: a negative binary cross entropy; the labels were those of four classes.
    made = sensors()
    net = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 1 if faulty else 4))
    opt = optim.Adam(net.parameters(), lr=0.01)
    if faulty:
        train(run, net, nn.BCEWithLogitsLoss(), opt, as_column(made), size=32, steps=100)
        return run.right_number(net, Data(made.x, made.y, made.test_x, made.test_y))
    train(run, net, nn.CrossEntropyLoss(), opt, made, size=32, steps=100)
    return run.right(net, made)
