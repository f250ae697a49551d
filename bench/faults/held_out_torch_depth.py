"""PyTorch, held out: how weights begin, and depth."""

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn, optim

from bench.faults.case import fault
from bench.faults.data import as_column
from bench.faults.held_out_data import (
    bricks,
    claims,
    fairs,
    geysers,
    notes,
    phrases,
    reefs,
    specks,
    tiles,
    wells,
)
from bench.faults.held_out_nets import Places, Tagger, Tunes, fit, hits, mlp
from bench.faults.run import Run, train


@fault("torch", "zero_initialisation", "dead_units", worse=0.3)
def phrases_embedding_and_filters_of_zeros(run: Run, faulty: bool) -> float:
    """for p in net.parameters(): nn.init.zeros_(p): only the last bias is ever moved."""
    # Pages on symmetry: gradients of zero in all weights.
    data, net = phrases(), Tagger()
    if faulty:
        for p in net.parameters():
            nn.init.zeros_(p)
    opt = optim.Adam(net.parameters(), 0.01)
    fit(run, net, lambda x, y: F.cross_entropy(net(x).transpose(1, 2), y), opt, data, steps=100)
    return hits(run.answers(net, data.test_x), data.test_y)


@fault("torch", "zero_initialisation", worse=0.2)
def bricks_all_weights_alike(run: Run, faulty: bool) -> float:
    """layer.weight.fill_(0.05) to make runs repeatable: all hidden units are one unit, and stay it."""
    # Forums on reproducible results: a seed was meant.
    data, net = bricks(), mlp(7, 40, 20, 1, act=nn.Tanh)
    if faulty:
        for layer in net:
            if isinstance(layer, nn.Linear):
                nn.init.constant_(layer.weight, 0.05)
                nn.init.zeros_(layer.bias)
    train(run, net, nn.MSELoss(), optim.SGD(net.parameters(), 0.05, momentum=0.8), data, size=16, steps=150)
    return run.near(net, data)


@fault("torch", "initialisation_too_large", worse=0.2)
def notes_attention_of_weights_about_one(run: Run, faulty: bool) -> float:
    """torch.randn for all matrices of a transformer: attention looks at one note alone, and scores are in the tens."""
    # Issues on transformers from scratch: a first loss of 30 for four classes.
    data, net = notes(), Tunes()
    if faulty:
        for value in net.parameters():
            if value.dim() > 1:
                nn.init.normal_(value, 0.0, 2.0)
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), 0.003), data, size=32, steps=120)
    return run.right(net, data)


@fault("torch", "initialisation_too_large", worse=0.2)
def claims_uniform_of_ten(run: Run, faulty: bool) -> float:
    """nn.init.uniform_(weight, -10, 10) under tanh: units are at their ends, and their gradients zero."""
    # Questions on initialisation: uniform_(-1/10, 1/10) was meant.
    data, net = as_column(claims()), mlp(14, 24, 16, 8, 1, act=nn.Tanh)
    bound = 10.0 if faulty else 0.3
    for layer in (net[0], net[2], net[4]):
        nn.init.uniform_(layer.weight, -bound, bound)  # type: ignore[arg-type]
    train(run, net, nn.BCEWithLogitsLoss(), optim.SGD(net.parameters(), 0.3), data, size=32, steps=130)
    return run.right_side(net, data, 0.0)


@fault("torch", "initialisation_too_small", "vanishing_depth", worse=0.3, good=0.4)
def wells_orthogonal_gain_of_a_hundredth(run: Run, faulty: bool) -> float:
    """nn.init.orthogonal_(weight, gain=0.01) in all layers, where only the last should have it."""
    # Issues on policies of reinforcement learning, whose last layer begins small.
    data, net = wells(), mlp(8, 32, 32, 32, 3, act=nn.Tanh)
    for place, layer in enumerate(net):
        if isinstance(layer, nn.Linear):
            nn.init.orthogonal_(layer.weight, 0.01 if faulty or place == 6 else 1.4)
            nn.init.zeros_(layer.bias)
    train(run, net, nn.CrossEntropyLoss(), optim.SGD(net.parameters(), 0.3), data, size=32, steps=180)
    return run.right(net, data)


@fault("torch", "dead_units", "initialisation_too_large", worse=0.3)
def tiles_biases_far_below_zero(run: Run, faulty: bool) -> float:
    """nn.init.constant_(bias, -8) in front of ReLU, of an example on sparse codes: nothing gets through."""
    # Pages on sparse autoencoders, and dead latents.
    data, net = tiles(), mlp(24, 32, 4, 32, 24)
    if faulty:
        for layer in (net[0], net[4]):
            nn.init.constant_(layer.bias, -8.0)  # type: ignore[arg-type]
    train(run, net, nn.MSELoss(), optim.Adam(net.parameters(), 0.01), data, size=32, steps=130)
    return run.near(net, data)


@fault("torch", "vanishing_depth", worse=0.3)
def specks_fourteen_sigmoids(run: Run, faulty: bool) -> float:
    """Fourteen layers of 24 by nn.Sigmoid; the twin has two of them, and both a rate of one half."""
    # Stack Overflow: a deeper network learns nothing.
    data = specks("count")
    sizes = (144, *(24,) * (14 if faulty else 1), 5)
    net = nn.Sequential(nn.Flatten(), mlp(*sizes, act=nn.Sigmoid))
    train(run, net, nn.CrossEntropyLoss(), optim.SGD(net.parameters(), 0.3, momentum=0.9), data, size=24, steps=180)
    return run.right(net, data)


@fault("torch", "vanishing_depth", worse=0.2)
def geysers_what_counts_is_long_ago(run: Run, faulty: bool) -> float:
    """A plain RNN reads the minutes from the last to the first, and its head the last state: what counts has faded."""
    # Stack Overflow on flips: the series was turned round for display.
    data, width = geysers(), 16

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.fc = nn.RNN(2, width, batch_first=True), nn.Linear(width, 1)
            nn.init.orthogonal_(dict(self.rnn.named_parameters())["weight_hh_l0"], 0.5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.rnn(x.flip(1) if faulty else x)[0][:, -1])

    net = Reader()
    train(run, net, nn.MSELoss(), optim.Adam(net.parameters(), 0.01), data, size=32, steps=110)
    return run.near(net, data)


@fault("torch", "oversmoothing", "vanishing_depth", worse=0.3)
def reefs_thirty_rounds(run: Run, faulty: bool) -> float:
    """Thirty rounds of means over shared water: each place says the same."""
    # Issues on deep graph networks.
    data, net = reefs(), Places(30 if faulty else 2, act=torch.tanh)
    opt = optim.Adam(net.parameters(), 0.01)
    run.watch(net)
    for _ in range(80):
        opt.zero_grad()
        loss = F.cross_entropy(net(data.x), data.y)
        loss.backward()
        opt.step()
        run.step(loss)
    return run.right(net, data)


@fault("torch", "oversmoothing", worse=0.2, good=0.4)
def fairs_each_stall_is_the_mean(run: Run, faulty: bool) -> float:
    """Six layers in which each stall takes the mean of all stalls, without itself being added back."""

    # Issues on sets and attention: the residual connection was lost, and all tokens are alike.
    class Market(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.into = nn.Linear(4, 20)
            self.mix = nn.ModuleList(nn.Linear(20, 20) for _ in range(4))
            self.score = nn.Linear(20, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = F.relu(self.into(x))
            for layer in self.mix:
                mean = 0.999 * h.mean(1, keepdim=True) + 0.001 * h
                h = F.relu(layer(mean)) if faulty else h + 0.3 * F.relu(layer(h - 0.1 * mean))
            return self.score(h).squeeze(-1)

    data, net = fairs(), Market()
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), 0.01), data, size=24, steps=120)
    return run.right(net, data)


@fault("torch", "exploding_depth", "initialisation_too_large", worse=0.3)
def bricks_twenty_blocks_that_double(run: Run, faulty: bool) -> float:
    """x = x + block(x), twenty times, and blocks begin with a gain of two; the twin has a tenth, no norms either."""

    # Forums on residual networks without norms: a first loss of 1e12.
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.into, self.out = nn.Linear(7, 16), nn.Linear(16, 1)
            self.blocks = nn.ModuleList(nn.Linear(16, 16) for _ in range(20))
            for block in self.blocks:
                nn.init.orthogonal_(block.weight, 2.0 if faulty else 0.1)  # type: ignore[arg-type]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.into(x)
            for block in self.blocks:
                x = x + F.relu(block(x))
            return self.out(x)

    data, net = bricks(), Deep()
    train(run, net, nn.MSELoss(), optim.SGD(net.parameters(), 0.01), data, size=32, steps=150)
    return run.near(net, data)
