"""PyTorch, opened (held out until 2026-11-30): what the loop does."""

import copy

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn, optim

from bench.faults.case import fault
from bench.faults.data import as_column
from bench.faults.opened_3_data import (
    bars,
    chain,
    goes_on,
    patients,
    prices,
    roll,
    shells,
)
from bench.faults.opened_3_torch_learning import Ahead
from bench.faults.run import Run, batches, train


@fault("torch", "no_zero_grad")
def prices_never_cleared(run: Run, faulty: bool) -> float:
    """A loop without zero_grad, under SGD with momentum."""
    # Stack Overflow: why zero_grad has to be called; here the loss falls a little and then climbs.
    data = prices()
    net = Ahead(nn.GRU)
    opt = optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    loss_fn = nn.MSELoss()
    run.watch(net, loss_fn)
    for x, y in batches(data.x, data.y, size=32, steps=150):
        if not faulty:
            opt.zero_grad()
        loss = loss_fn(net(x), y)
        loss.backward()
        opt.step()
        run.step(loss)
    return run.near(net, data)


@fault("torch", "gradients_cleared", "no_step")
def shells_step_comes_first(run: Run, faulty: bool) -> float:
    """zero_grad(), step(), backward(): the step always meets gradients of zero."""
    # PyTorch forum: in which order the three calls have to come.
    data = shells()
    net = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 5))
    opt = optim.Adam(net.parameters(), lr=0.01)
    criterion = nn.CrossEntropyLoss()
    run.watch(net, criterion)
    for x, y in batches(data.x, data.y, size=64, steps=150):
        opt.zero_grad(set_to_none=False)
        if faulty:
            opt.step()
        loss = criterion(net(x), y)
        loss.backward()
        if not faulty:
            opt.step()
        run.step(loss)
    return run.right(net, data)


@fault("torch", "set_anew", since=15)
def roll_best_weights_are_the_first(run: Run, faulty: bool) -> float:
    """Each epoch loads the best weights, and best_loss began at 0: those of the beginning, for ever."""
    # Stack Overflow: early stopping that always restores the first epoch.
    data = roll()
    net = nn.Sequential(nn.Linear(3, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 1))
    opt = optim.SGD(net.parameters(), lr=0.05, momentum=0.5)
    criterion = nn.MSELoss()
    best_loss, best = (0.0 if faulty else float("inf")), copy.deepcopy(net.state_dict())
    run.watch(net, criterion)
    for step, (x, y) in enumerate(batches(data.x, data.y, size=80, steps=195)):
        opt.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        opt.step()
        run.step(loss)
        if step % 15 == 14:
            if loss.item() < best_loss:
                best_loss, best = loss.item(), copy.deepcopy(net.state_dict())
            net.load_state_dict(best)
    return run.near(net, data)


@fault("torch", "stale_statistics", since=20)
def bars_momentum_of_another_framework(run: Run, faulty: bool) -> float:
    """BatchNorm2d(momentum=0.001), from a framework in which 0.999 is kept: evaluation sees the first values."""
    # PyTorch forum: a model that is good in train() and at chance in eval().
    data = bars()
    data = data._replace(x=8 * data.x + 4, test_x=8 * data.test_x + 4)
    much = 0.001 if faulty else 0.2
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2), nn.BatchNorm2d(8, momentum=much), nn.ReLU(), nn.Conv2d(8, 16, 3),
        nn.BatchNorm2d(16, momentum=much), nn.ReLU(), nn.Flatten(), nn.Linear(144, 4),
    )  # fmt: skip
    opt = optim.Adam(net.parameters(), lr=0.005)
    criterion = nn.CrossEntropyLoss()
    run.watch(net, criterion)
    for step, (x, y) in enumerate(batches(data.x, data.y, size=32, steps=100)):
        net.train()
        opt.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        opt.step()
        if step % 20 == 19:
            net.eval()
            with torch.no_grad():
                criterion(net(data.test_x[:200]), data.test_y[:200])
        run.step(loss)
    return run.right(net, data)


@fault("torch", "dropout", worse=0.1)
def patients_dropout_keeps_one_in_twenty(run: Run, faulty: bool) -> float:
    """nn.Dropout(0.95) after each layer: in an older framework the number was what is kept."""
    # Stack Overflow: the same network that learned elsewhere, and here stays near chance.
    data = as_column(patients())
    p = 0.95 if faulty else 0.05
    net = nn.Sequential(
        nn.Linear(14, 32), nn.ReLU(), nn.Dropout(p), nn.Linear(32, 32), nn.ReLU(), nn.Dropout(p), nn.Linear(32, 1)
    )
    opt = optim.Adam(net.parameters(), lr=0.005)
    train(run, net, nn.BCEWithLogitsLoss(), opt, data, size=64, steps=150)
    return run.right_side(net, data, 0.0)


@fault("torch", "bootstrapped_targets", good=0.6)
def chain_values_of_the_end_are_asked(run: Run, faulty: bool) -> float:
    """A value network of a chain has no (1 - done) and a discount of 1.05: values feed on themselves."""
    # Artificial Intelligence Stack Exchange: values of a DQN that grow and grow.
    now, move, reward, then, end = chain()
    net = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2))
    opt = optim.Adam(net.parameters(), lr=0.005)
    run.watch(net)
    for _ in range(200):
        some = torch.randint(len(now), (32,))
        with torch.no_grad():
            ahead = net(then[some]).max(1).values
            target = reward[some] + (1.05 * ahead if faulty else 0.9 * (1 - end[some]) * ahead)
        loss = F.mse_loss(net(now[some]).gather(1, move[some, None])[:, 0], target)
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    return goes_on(run.answers(net, torch.eye(8)))
