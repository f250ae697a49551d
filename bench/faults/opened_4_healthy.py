"""Opened (held out until 2026-12-01): PyTorch programs that look odd, and in which nothing is wrong."""

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn, optim

from bench.faults.case import look_alike
from bench.faults.opened_4_data import (
    arrows,
    calls,
    coins,
    friends,
    harvest,
    jingles,
    ledgers,
    ponds,
    pulse,
    rooms,
    sayings,
    sensors,
    strolls,
)
from bench.faults.opened_4_torch_learning import small_cnn
from bench.faults.opened_4_torch_targets import nearest
from bench.faults.run import Run, batches, train


@look_alike("torch")
def arrows_norms_and_a_rate_of_one(run: Run) -> float:
    """SGD(lr=1.0) for convolutions with batch norms: such a rate suits it."""
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, bias=False), nn.BatchNorm2d(12), nn.ReLU(), nn.Flatten(), nn.Linear(108, 4, bias=False),
        nn.BatchNorm1d(4),
    )  # fmt: skip
    train(run, net, nn.CrossEntropyLoss(), optim.SGD(net.parameters(), lr=1.0), arrows(), size=64, steps=120)
    return run.right(net, arrows())


@look_alike("torch")
def harvest_branches_that_begin_at_nearly_nothing(run: Run) -> float:
    """Each residual branch is multiplied by a factor that begins at 1e-4, as in deep transformers for images."""

    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.into, self.out = nn.Linear(6, 32), nn.Linear(32, 1)
            self.branches = nn.ModuleList(
                nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32)) for _ in range(6)
            )
            self.scales = nn.Parameter(torch.full((6, 32), 1e-4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.into(x)
            for branch, scale in zip(self.branches, self.scales, strict=True):
                h = h + scale * branch(h)
            return self.out(h)

    net = Deep()
    train(run, net, nn.MSELoss(), optim.AdamW(net.parameters(), lr=0.01), harvest(), size=64, steps=140)
    return run.near(net, harvest())


@look_alike("torch")
def pulse_gradients_always_clipped(run: Run) -> float:
    """Gradients are clipped to a norm of 0.05 in nearly each step, under Adam, which it does not matter to."""

    class Next(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.out = nn.LSTM(1, 24, batch_first=True), nn.Linear(24, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.lstm(x)[0][:, -1])

    net = Next()
    opt = optim.Adam(net.parameters(), lr=0.01)
    loss_fn = nn.MSELoss()
    run.watch(net, loss_fn)
    for x, y in batches(pulse().x, pulse().y, size=32, steps=140):
        opt.zero_grad()
        loss = loss_fn(net(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 0.05)
        opt.step()
        run.step(loss)
    return run.near(net, pulse())


@look_alike("torch", good=0.35)
def ledgers_hinge_of_one_and_minus_one(run: Run) -> float:
    """Labels of 1 and -1 under a hinge, which is zero for most samples once it has learned."""
    made = ledgers()
    data = made._replace(y=2.0 * made.y[:, None] - 1)
    net = nn.Sequential(nn.Linear(10, 48), nn.ReLU(), nn.Linear(48, 1))
    opt = optim.Adam(net.parameters(), lr=0.01)
    run.watch(net)
    for x, y in batches(data.x, data.y, size=64, steps=140):
        loss = F.relu(1 - y * net(x)).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    return run.right_side(net, made, 0.0)


@look_alike("torch", good=0.35)
def ledgers_as_many_of_each_class(run: Run) -> float:
    """One account in thirty is a swindle, and a sampler draws as many of each, with repetition."""
    made, wanted = ledgers(0.033), ledgers()
    share = torch.where(made.y > 0, 1 / made.y.float().mean(), 1 / (1 - made.y.float().mean()))
    net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 2))
    opt = optim.AdamW(net.parameters(), lr=0.01, weight_decay=0.1)
    criterion = nn.CrossEntropyLoss()
    run.watch(net, criterion)
    for _ in range(120):
        some = share.multinomial(64, replacement=True)
        loss = criterion(net(made.x[some]), made.y[some])
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    return run.right(net, wanted)


@look_alike("torch")
def arrows_in_bfloat16(run: Run) -> float:
    """autocast to bfloat16, and weights in float32, as it should be."""
    data = arrows()
    net = small_cnn(4)
    opt = optim.Adam(net.parameters(), lr=0.005)
    criterion = nn.CrossEntropyLoss()
    run.watch(net, criterion)
    for x, y in batches(data.x, data.y, size=32, steps=120):
        with torch.autocast("cpu", torch.bfloat16):
            loss = criterion(net(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    return run.right(net, data)


@look_alike("torch", good=0.4)
def sayings_most_words_are_rare(run: Run) -> float:
    """A table of 2,000 words, of which forty occur, and a frozen part of it."""

    class Rare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb = nn.Embedding(2000, 16, padding_idx=0)
            self.fc1, self.fc2 = nn.Linear(16, 32), nn.Linear(32, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc2(torch.tanh(self.fc1(self.emb(x).mean(1))))

    net = Rare()
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), lr=0.02), sayings(), size=32, steps=130)
    return run.right(net, sayings())


@look_alike("torch")
def sensors_pupil_of_a_slow_copy(run: Run) -> float:
    """A second network follows the first by a moving mean, and gets no gradient: two views, a predictor, no others."""
    data = sensors()
    net = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 16), nn.BatchNorm1d(16, affine=False))
    slow = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 16), nn.BatchNorm1d(16, affine=False))
    slow.load_state_dict(net.state_dict())
    slow.requires_grad_(requires_grad=False)
    guess = nn.Linear(16, 16)
    opt = optim.Adam([*net.parameters(), *guess.parameters()], lr=0.01)
    run.watch(net, prefix="net.")
    run.watch(slow, prefix="slow.")
    for x, _ in batches(data.x, data.y, size=64, steps=120):
        with torch.no_grad():
            wanted = slow(x + 0.2 * torch.randn_like(x))
        loss = -F.cosine_similarity(guess(net(x + 0.2 * torch.randn_like(x))), wanted).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        with torch.no_grad():
            for a, b in zip(slow.parameters(), net.parameters(), strict=True):
                a.lerp_(b, 0.05)
        run.step(loss)
    return nearest(run, net, data, 4)


@look_alike("torch", good=0.3)
def calls_negative_likelihood_below_zero(run: Run) -> float:
    """A likelihood of counts without its constant term: the loss is negative, and rightly so."""
    data = calls()
    net = nn.Sequential(nn.Linear(4, 48), nn.SiLU(), nn.Linear(48, 48), nn.SiLU(), nn.Linear(48, 1))
    train(run, net, nn.PoissonNLLLoss(), optim.Adam(net.parameters(), lr=0.01), data, size=64, steps=130)
    said = run.answers(net, data.test_x).clamp(max=5).exp()
    return float(1 - (said - data.test_y).square().mean() / data.test_y.var())


@look_alike("torch")
def coins_hidden_pixels_alone_count(run: Run) -> float:
    """Half of all pixels are hidden, and the error counts those alone: a masked coder."""
    made = coins()
    data = made._replace(test_x=made.test_x.flatten(1), test_y=made.test_x.flatten(1))
    net = nn.Sequential(nn.Linear(196, 96), nn.ReLU(), nn.Linear(96, 196))
    opt = optim.Adam(net.parameters(), lr=0.005)
    run.watch(net)
    for x, _ in batches(made.x.flatten(1), made.y, size=32, steps=200):
        seen = (torch.rand_like(x) < 0.5).float()
        error = (net(x * seen * 2) - x).square() * (1 - seen)
        loss = error.sum() / (1 - seen).sum()
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    return run.near(net, data)


@look_alike("torch", good=0.5)
def friends_one_batch_of_a_whole_graph(run: Run) -> float:
    """The same 300 people in each step, for a graph is one batch, and two thirds of them without a label."""
    said, known, club = friends()
    told = torch.arange(300) % 3 == 0

    class Attend(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lin1, self.lin2 = nn.Linear(12, 24), nn.Linear(24, 4)
            self.score = nn.Linear(24, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = F.elu(self.lin1(x))
            a, b = self.score(h).unbind(1)
            looks = F.leaky_relu(a[:, None] + b, 0.2).masked_fill(known == 0, -torch.inf).softmax(1)
            return self.lin2(looks @ h)

    net = Attend()
    opt = optim.Adam(net.parameters(), lr=0.02, weight_decay=5e-3)
    criterion = nn.CrossEntropyLoss()
    run.watch(net, criterion)
    for _ in range(90):
        loss = criterion(net(said)[told], club[told])
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    right = run.answers(net, said).argmax(1)[~told] == club[~told]
    return (4 * float(right.float().mean()) - 1) / 3


@look_alike("torch", good=0.6)
def rooms_few_of_the_walks_pay(run: Run) -> float:
    """Values of a house by a slow copy: most rewards are zero, and the loss rises before it falls."""
    then, pay, ends = rooms()
    net, slow = (nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 2)) for _ in range(2))
    slow.load_state_dict(net.state_dict())
    opt = optim.Adam(net.parameters(), lr=0.01)
    criterion = nn.SmoothL1Loss()
    run.watch(net, criterion)
    for _ in range(200):
        place, move = torch.randint(5, (48,)), torch.randint(2, (48,))
        led = then[place, move]
        with torch.no_grad():
            wanted = pay[place, move] + 0.8 * slow(torch.eye(6)[led]).amax(1) * ~ends[led]
        loss = criterion(net(torch.eye(6)[place])[torch.arange(48), move], wanted)
        opt.zero_grad()
        loss.backward()
        opt.step()
        with torch.no_grad():
            for a, b in zip(slow.parameters(), net.parameters(), strict=True):
                a.lerp_(b, 0.1)
        run.step(loss)
    worth = run.answers(net, torch.eye(6)[:5])
    truth = 0.8 ** torch.arange(4, -1, -1).float()
    return float(1 - (worth[:, 1] - truth).square().mean() / truth.var())


@look_alike("torch")
def strolls_weights_by_turns(run: Run) -> float:
    """Odd steps train the body and even ones the head: each is left as it is in half of all steps."""
    data = strolls()
    body = nn.Sequential(nn.Flatten(), nn.Linear(72, 48), nn.ReLU())
    head = nn.Linear(48, 4)
    net = nn.Sequential(body, head)
    opts = optim.SGD(body.parameters(), lr=0.1, momentum=0.9), optim.SGD(head.parameters(), lr=0.1, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    run.watch(net, criterion)
    for place, (x, y) in enumerate(batches(data.x, data.y, size=48, steps=150)):
        net.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        opts[place % 2].step()
        run.step(loss)
    return run.right(net, data)


@look_alike("torch")
def jingles_one_table_for_both_ends(run: Run) -> float:
    """The last layer's weights are the table of notes, and a temperature of 0.2 sharpens what is said."""
    data = jingles()

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.notes, self.gru = nn.Embedding(12, 24), nn.GRU(24, 24, batch_first=True)
            self.out = nn.Linear(24, 12, bias=False)
            self.out.weight = self.notes.weight
            nn.init.normal_(self.notes.weight, 0, 0.2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.gru(self.notes(x))[0]) / 0.2

    net = Tied()
    opt = optim.Adam(net.parameters(), lr=0.01)
    criterion = nn.CrossEntropyLoss()
    run.watch(net, criterion)
    for x, y in batches(data.x, data.y, size=32, steps=140):
        loss = criterion(net(x).transpose(1, 2), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    return run.right(net, data)


@look_alike("torch")
def ponds_cycles_of_rates(run: Run) -> float:
    """The rate goes from 0.001 to 0.3 and back within thirty steps, again and again, and the loss with it."""
    net = nn.Sequential(nn.Linear(5, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 3))
    opt = optim.SGD(net.parameters(), lr=0.001, momentum=0.8)
    schedule = optim.lr_scheduler.CyclicLR(opt, 0.001, 0.3, 15)
    criterion = nn.CrossEntropyLoss()
    run.watch(net, criterion)
    for x, y in batches(ponds().x, ponds().y, size=64, steps=180):
        loss = criterion(net(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        schedule.step()
        run.step(loss)
    return run.right(net, ponds())
