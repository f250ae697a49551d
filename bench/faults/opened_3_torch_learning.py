"""PyTorch, opened (held out until 2026-11-30): rates, and parameters that are left out."""

from typing import Any

import torch
from torch import nn, optim

from bench.faults.case import fault
from bench.faults.data import as_column
from bench.faults.opened_3_data import (
    bars,
    chain,
    circuits,
    moons,
    numerals,
    prices,
    rides,
    rings,
    tones,
    votes,
)
from bench.faults.run import Run, batches, train


class Mix(nn.Module):
    """A small transformer over votes."""

    def __init__(self) -> None:
        super().__init__()
        self.tok = nn.Embedding(4, 24)
        layer = nn.TransformerEncoderLayer(24, 2, 48, dropout=0.0, batch_first=True)
        self.enc = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(24, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.enc(self.tok(x)).mean(1))


@fault("torch", "rate_too_small", good=0.4)
def votes_rate_of_a_large_model(run: Run, faulty: bool) -> float:
    """AdamW(lr=1e-7): a rate taken over from the last stage of tuning a far larger model."""
    # GitHub issue of a text classifier: a loss that stays at the logarithm of the number of classes.
    net = Mix()
    opt = optim.AdamW(net.parameters(), lr=1e-7 if faulty else 3e-3)
    train(run, net, nn.CrossEntropyLoss(), opt, votes(), size=32, steps=100)
    return run.right(net, votes())


@fault("torch", "rate_too_small", "rate_zero", good=0.4)
def prices_factor_taken_for_a_rate(run: Run, faulty: bool) -> float:
    """LambdaLR's function gives a rate where a factor is wanted: the rate becomes a square of itself."""
    # PyTorch forum: what the function of LambdaLR has to return.
    data = prices()
    net = Ahead()
    base = 1e-3 if faulty else 1e-2
    opt = optim.Adam(net.parameters(), lr=base)
    how = (lambda step: 1e-3 * 0.99**step) if faulty else (lambda step: 0.99**step)
    schedule = optim.lr_scheduler.LambdaLR(opt, how)
    loss_fn = nn.MSELoss()
    run.watch(net, loss_fn)
    for x, y in batches(data.x, data.y, size=32, steps=120):
        loss = loss_fn(net(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        schedule.step()
        run.step(loss)
    return run.near(net, data)


class Ahead(nn.Module):
    """An LSTM over prices, and the next one."""

    def __init__(self, cell: type[nn.Module] = nn.LSTM, **options: Any) -> None:
        super().__init__()
        self.rnn = cell(1, 24, batch_first=True, **options)
        self.linear = nn.Linear(24, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states, _ = self.rnn(x)
        return self.linear(states[:, -1])


@fault("torch", "rate_too_large")
def tones_sgd_at_ten(run: Run, faulty: bool) -> float:
    """SGD(lr=10, momentum=0.9): a point was lost in copying 0.10."""
    # Stack Overflow: a CNN whose loss is large in the first epoch and constant thereafter.
    data = tones()
    net = nn.Sequential(
        nn.Conv1d(1, 12, 9, stride=3), nn.ReLU(), nn.Conv1d(12, 12, 5, stride=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(96, 5),
    )  # fmt: skip
    opt = optim.SGD(net.parameters(), lr=10.0 if faulty else 0.05, momentum=0.9)
    train(run, net, nn.CrossEntropyLoss(), opt, data, size=32, steps=150)
    return run.right(net, data)


@fault("torch", "momentum", "rate_too_large")
def circuits_momentum_of_one(run: Run, faulty: bool) -> float:
    """SGD(lr=0.02, momentum=1.0): nothing is ever forgotten, and steps swing further and further."""
    # PyTorch forum: a loss that swings more and more; the momentum was meant to be 0.1 less.
    data = circuits()
    net = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 1))
    opt = optim.SGD(net.parameters(), lr=0.02, momentum=1.0 if faulty else 0.9)
    train(run, net, nn.MSELoss(), opt, data, size=64, steps=150)
    return run.near(net, data)


@fault("torch", "weight_decay")
def rides_decay_of_one_in_adam(run: Run, faulty: bool) -> float:
    """Adam(weight_decay=1): an L2 penalty that outweighs the error; all rides cost the same."""
    # Stack Overflow: a regression that gives the mean for each sample.
    data = rides()
    net = nn.Sequential(nn.Linear(4, 48), nn.ReLU(), nn.Linear(48, 24), nn.ReLU(), nn.Linear(24, 1))
    opt = optim.Adam(net.parameters(), lr=0.01, weight_decay=1.0 if faulty else 1e-5)
    train(run, net, nn.MSELoss(), opt, data, size=64, steps=150)
    return run.near(net, data)


@fault("torch", "loss_scaled", "rate_too_small")
def rings_mean_divided_by_the_data(run: Run, faulty: bool) -> float:
    """loss = criterion(out, y) / len(dataset), though the criterion takes the mean already, under SGD."""
    # PyTorch forum: how a loss is to be averaged, of a network that learns extremely slowly.
    data = as_column(rings())
    net = nn.Sequential(nn.Linear(2, 40), nn.ReLU(), nn.Linear(40, 1))
    opt = optim.SGD(net.parameters(), lr=0.3, momentum=0.9)
    criterion = nn.BCEWithLogitsLoss()
    run.watch(net, criterion)
    for x, y in batches(data.x, data.y, size=50, steps=150):
        loss = criterion(net(x), y)
        if faulty:
            loss = loss / len(data.x)
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    return run.right_side(net, data, 0.0)


@fault("torch", "clipped", "rate_too_small")
def numerals_values_clipped_to_nothing(run: Run, faulty: bool) -> float:
    """clip_grad_value_(parameters, 1e-6) before SGD: the second number was taken for a small constant."""
    # PyTorch forum: gradient clipping for a recurrent network, after which it learns no more.
    data = numerals()
    net = Spell()
    opt = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    criterion = nn.MSELoss()
    run.watch(net, criterion)
    for x, y in batches(data.x, data.y, size=32, steps=200):
        opt.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        nn.utils.clip_grad_value_(net.parameters(), 1e-6 if faulty else 0.5)
        opt.step()
        run.step(loss)
    return run.near(net, data)


class Spell(nn.Module):
    """A GRU over the signs of a numeral, packed to their count."""

    def __init__(self) -> None:
        super().__init__()
        self.signs = nn.Embedding(6, 16, padding_idx=0)
        self.gru = nn.GRU(16, 32, batch_first=True)
        self.value = nn.Linear(32, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states, _ = self.gru(self.signs(x))
        last = (x > 0).sum(1) - 1
        return self.value(states[torch.arange(len(x)), last])


@fault("torch", "missing_from_optimiser", good=0.6)
def bars_convolutions_in_a_list(run: Run, faulty: bool) -> float:
    """self.convs is a Python list: parameters() knows nothing of what is in it."""
    # Stack Overflow and many blogs: layers in a list, which an optimiser never sees.
    data = bars()

    class Cnn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            convs = [nn.Conv2d(1, 4, 3, stride=2), nn.Conv2d(4, 4, 3)]
            self.convs: Any = convs if faulty else nn.ModuleList(convs)
            self.fc = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for conv in self.convs:
                x = torch.relu(conv(x))
            return self.fc(x.amax((2, 3)))

    net = Cnn()
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), lr=0.02), data, size=32, steps=200)
    return run.right(net, data)


class Forger(nn.Module):
    """Points from noise."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.body(z)


def judge() -> nn.Sequential:
    """Whether a point is real."""
    return nn.Sequential(nn.Linear(2, 48), nn.LeakyReLU(0.2), nn.Linear(48, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1))


def likeness(run: Run, forger: nn.Module, data: torch.Tensor) -> float:
    """One less the energy distance between made points and real ones, over that of points made by noise alone."""
    torch.manual_seed(9)
    made = run.answers(forger, torch.randn(400, 4))
    if not bool(torch.isfinite(made).all()):
        return float("nan")

    def apart(a: torch.Tensor, b: torch.Tensor) -> float:
        return float(2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean())

    return 1 - apart(made, data[:400]) / apart(torch.zeros(1, 2), data[:400])


def play(run: Run, how: str) -> float:
    """A generator of moons against a discriminator; `how` says what is done wrong, "" nothing."""
    data = moons(0.05).x + 1.0
    forger, critic = Forger(), judge()
    g_opt = optim.Adam(forger.parameters(), lr=0.003, betas=(0.5, 0.999))
    d_opt = optim.Adam((forger if how == "both" else critic).parameters(), lr=0.003, betas=(0.5, 0.999))
    criterion = nn.BCEWithLogitsLoss()
    run.watch(forger, prefix="forger.")
    run.watch(critic, criterion, prefix="critic.")
    for real, _ in batches(data, data, size=64, steps=200):
        fake = forger(torch.randn(64, 4))
        ones, zeros = torch.ones(64, 1), torch.zeros(64, 1)
        if how != "left":
            critic.requires_grad_(requires_grad=True)
        d_loss = criterion(critic(real), ones) + criterion(critic(fake.detach()), zeros)
        if d_loss.requires_grad:
            d_opt.zero_grad()
            d_loss.backward()
            d_opt.step()
        critic.requires_grad_(requires_grad=False)
        g_loss = criterion(critic(fake), zeros if how == "labels" else ones)
        g_opt.zero_grad()
        g_loss.backward()
        g_opt.step()
        run.step(g_loss)
    return likeness(run, forger, data)


@fault("torch", "frozen", conditions="collapsed drifting exploding saturated constant", good=0.6)
def moons_critic_frozen_and_never_thawed(run: Run, faulty: bool) -> float:
    """The discriminator's gradients are switched off for the generator's turn, and not on again."""
    # GitHub issue of a GAN: a discriminator's loss that is the same in each epoch.
    return play(run, "left" if faulty else "")


@fault("torch", "missing_from_optimiser", conditions="collapsed drifting exploding saturated constant", good=0.6)
def moons_both_optimisers_of_the_generator(run: Run, faulty: bool) -> float:
    """optimizer_D = Adam(generator.parameters()): a line was copied, and a name not changed."""
    # Stack Overflow: a GAN whose discriminator stays at one half for ever.
    return play(run, "both" if faulty else "")


@fault("torch", "wrong_sign", "wrong_loss", conditions="collapsed drifting vanishing exploding", good=0.6)
def moons_generator_asks_to_be_found_out(run: Run, faulty: bool) -> float:
    """The generator's loss compares its samples with the label of fakes: both networks want the same."""
    # PyTorch forum: a GAN of which both losses fall to zero.
    return play(run, "labels" if faulty else "")


@fault("torch", "detached", "no_backward", good=0.6)
def chain_policy_of_numbers(run: Run, faulty: bool) -> float:
    """REINFORCE collects log_prob.item(), and makes a tensor of the list that requires gradients."""
    # PyTorch forum: a policy gradient whose policy stays at random.
    now, move, reward, then, _ = chain(6)
    net = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 2))
    opt = optim.Adam(net.parameters(), lr=0.02)
    run.watch(net)
    table = {
        (int(a.argmax()), int(b)): (float(r), int(c.argmax()))
        for a, b, r, c in zip(now, move, reward, then, strict=True)
    }
    for _ in range(120):
        logs: list[Any] = []
        worth: list[float] = []
        place = 0
        while place < 5 and len(logs) < 40:
            chances = torch.distributions.Categorical(logits=net(torch.eye(6)[place]))
            action = chances.sample()
            log = chances.log_prob(action)
            logs.append(log.item() if faulty else log)
            gained, place = table[place, int(action)]
            worth.append(gained - 0.05)
        returns = torch.tensor(worth).flip(0).cumsum(0).flip(0)
        taken = torch.tensor(logs, requires_grad=True) if faulty else torch.stack(logs)
        loss = -(taken * (returns - returns.mean())).sum()
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    said = run.answers(net, torch.eye(6)[:5]).softmax(1)[:, 1]
    return float(2 * said.mean() - 1)


@fault("torch", "set_anew", "missing_from_optimiser", "trained_a_copy", worse=0.1)
def circuits_layer_made_in_forward(run: Run, faulty: bool) -> float:
    """forward makes its second layer, with new weights each time: x = nn.Linear(32, 32)(x)."""
    # Stack Overflow: a network that gives another answer to the same input each time.
    data = circuits()

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 32)
            self.second = nn.Linear(32, 32)
            self.last = nn.Linear(32, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.relu(self.first(x))
            if faulty:
                self.second = nn.Linear(32, 32)
            return self.last(torch.relu(self.second(x)))

    net = Net()
    train(run, net, nn.MSELoss(), optim.Adam(net.parameters(), lr=0.01), data, size=48, steps=150)
    return run.near(net, data)
