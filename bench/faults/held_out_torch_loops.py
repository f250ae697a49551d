"""PyTorch, held out: loops, and graphs."""

import copy

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn, optim

from bench.faults.case import fault
from bench.faults.data import as_column
from bench.faults.held_out_data import (
    bricks,
    claims,
    dials,
    gaits,
    geysers,
    herbs,
    queues,
    slots,
    wells,
)
from bench.faults.held_out_nets import Recurrent, mlp, pictures
from bench.faults.run import Run, batches, train


@fault("torch", "no_zero_grad", worse=0.2)
def geysers_zero_grad_once_an_epoch(run: Run, faulty: bool) -> float:
    """optimizer.zero_grad() stands before the loop over batches: gradients pile up for a whole epoch."""
    # Forums: where does zero_grad belong? The twin takes a large rate and few samples.
    data, net = geysers(), Recurrent(2, 1, hidden=16, kind=nn.GRU)
    opt = optim.SGD(net.parameters(), lr=0.2)
    run.watch(net)
    for epoch in range(2):
        opt.zero_grad()
        for rows in torch.randperm(len(data.x)).split(16):
            loss = F.mse_loss(net(data.x[rows]), data.y[rows])
            if not faulty or (epoch, len(run.losses)) == (0, 0):
                opt.zero_grad()
            loss.backward()
            opt.step()
            run.step(loss)
    return run.near(net, data)


@fault("torch", "no_zero_grad", worse=0.2)
def slots_update_by_hand_without_zeroing(run: Run, faulty: bool) -> float:
    """w -= lr * w.grad for each tensor, and w.grad.zero_() is left out: a network of two matrices by hand."""
    # Stack Overflow on first steps with autograd.
    data = slots()

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w1, self.w2 = nn.Parameter(0.5 * torch.randn(6, 16)), nn.Parameter(0.3 * torch.randn(16, 4))
            self.b1 = nn.Parameter(torch.zeros(16))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x @ self.w1 + self.b1).sigmoid() @ self.w2

    net = Net()
    run.watch(net)
    for x, y in batches(data.x, data.y, size=32, steps=150):
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        with torch.no_grad():
            for w in net.parameters():
                if w.grad is not None:
                    w.sub_(3.0 * w.grad)
                    if not faulty:
                        w.grad.zero_()
        run.step(loss)
    return run.right(net, data)


@fault("torch", "gradients_cleared", worse=0.3)
def gaits_zero_grad_after_backward(run: Run, faulty: bool) -> float:
    """loss.backward(); clip; optimizer.zero_grad(); optimizer.step(): nothing is left when the step is made."""
    # Forums: the order of the three calls.
    data, net = gaits(), nn.Sequential(nn.Conv1d(24, 12, 1), nn.ReLU(), nn.Flatten(), nn.Linear(36, 4))
    opt = optim.Adagrad(net.parameters(), lr=0.05)
    run.watch(net)
    for x, y in batches(data.x, data.y, size=32, steps=100):
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 2.0)
        if faulty:
            opt.zero_grad(set_to_none=False)
        opt.step()
        if not faulty:
            opt.zero_grad(set_to_none=False)
        run.step(loss)
    return run.right(net, data)


@fault("torch", "gradients_cleared", "loss_scaled", "rate_too_small", worse=0.15)
def slots_accumulation_that_is_wiped(run: Run, faulty: bool) -> float:
    """Of eight batches the gradients are to be added up, but zero_grad comes with each: a step is an eighth as long."""
    # Issues on gradient accumulation: what comes before the last backward pass is lost. Batches are of four.
    data, net = slots(), mlp(6, 16, 4, act=nn.Tanh)
    opt = optim.SGD(net.parameters(), lr=0.5)
    run.watch(net)
    for place, (x, y) in enumerate(batches(data.x, data.y, size=4, steps=240), 1):
        loss = F.cross_entropy(net(x), y) / 8
        if faulty:
            opt.zero_grad()
        loss.backward()
        if place % 8 == 0:
            opt.step()
            opt.zero_grad()
        run.step(loss)
    return run.right(net, data)


@fault("torch", "no_step", worse=0.3)
def herbs_step_behind_a_condition(run: Run, faulty: bool) -> float:
    """if (i + 1) % accumulate == 0 with accumulate=512, and there are 140 batches in all."""
    # Issues on training scripts for small data: the optimiser is never called.
    data, net = herbs(), mlp(36, 24, 6)
    opt = optim.Adam(net.parameters(), lr=0.02)
    accumulate = 512 if faulty else 2
    run.watch(net)
    for i, (x, y) in enumerate(batches(data.x, data.y, size=16, steps=140)):
        loss = F.binary_cross_entropy_with_logits(net(x), y) / accumulate
        loss.backward()
        if (i + 1) % accumulate == 0:
            opt.step()
            opt.zero_grad()
        run.step(loss)
    return run.right_side(net, data, 0.0)


@fault("torch", "no_backward", "no_step", worse=0.3)
def queues_backward_is_only_named(run: Run, faulty: bool) -> float:
    """loss.backward without its brackets: an expression that does nothing."""
    # Stack Overflow: a typing error that Python has nothing against.
    data, net = queues(), mlp(5, 24, 12, 1, act=nn.ELU)
    opt = optim.RMSprop(net.parameters(), lr=0.01)
    run.watch(net)
    for x, y in batches(data.x, data.y, size=20, steps=120):
        opt.zero_grad()
        loss = F.smooth_l1_loss(net(x), y)
        loss.backward if faulty else loss.backward()
        opt.step()
        run.step(loss)
    return run.near(net, data)


@fault("torch", "set_anew", since=16, worse=0.2)
def wells_best_so_far_is_never_renewed(run: Run, faulty: bool) -> float:
    """After every 15 batches the best weights are loaded, which were saved before the first batch and never after."""
    # Forums on early stopping by hand: the comparison of losses was the wrong way round.
    data, net = wells(), mlp(8, 40, 24, 3)
    first = copy.deepcopy(net.state_dict())
    opt = optim.Adam(net.parameters(), lr=0.01)
    criterion = nn.CrossEntropyLoss()
    run.watch(net, criterion)
    for place, (x, y) in enumerate(batches(data.x, data.y, size=32, steps=123), 1):
        opt.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        opt.step()
        run.step(loss)
        if faulty and place % 15 == 0:
            net.load_state_dict(first)
    return run.right(net, data)


@fault("torch", "set_anew", worse=0.3)
def dials_initialised_in_forward(run: Run, faulty: bool) -> float:
    """forward calls nn.init.xavier_uniform_ on the head's weight: each batch meets another head."""

    # Forums: init_weights() was called in forward, not in __init__.
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = pictures(24), nn.Linear(24, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if faulty:
                nn.init.xavier_uniform_(self.head.weight.data)
            return self.head(torch.relu(self.body(x)))

    data, net = dials(), Net()
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), 0.005), data, size=24, steps=100)
    return run.right(net, data)


@fault("torch", "dropout", worse=0.15)
def gaits_three_times_nine_tenths(run: Run, faulty: bool) -> float:
    """nn.Dropout(0.92) after each of three layers, where 0.08 was meant."""
    # Data Science Stack Exchange: does p keep, or drop?
    data, p = gaits(), 0.92 if faulty else 0.08
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(72, 32), nn.ReLU(), nn.Dropout(p), nn.Linear(32, 24), nn.ReLU(), nn.Dropout(p),
        nn.Linear(24, 16), nn.ReLU(), nn.Dropout(p), nn.Linear(16, 4),
    )  # fmt: skip
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), 0.005), data, steps=120)
    return run.right(net, data)


@fault("torch", "dropout", worse=0.2)
def claims_input_dropout_of_all_but_two(run: Run, faulty: bool) -> float:
    """F.dropout(x, 0.95) of the inputs, which stays on when asked, since training=self.training was left out."""

    # Stack Overflow: F.dropout does not know of eval().
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(14, 32), nn.Linear(32, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = F.dropout(x, 0.95 if faulty else 0.05, training=faulty or self.training)
            return self.fc2(F.gelu(self.fc1(x)))

    data, net = as_column(claims()), Net()
    train(run, net, nn.BCEWithLogitsLoss(), optim.Adam(net.parameters(), 0.01), data, size=32, steps=120)
    return run.right_side(net, data, 0.0)


@fault("torch", "norm_in_eval", "unscaled_inputs", worse=0.2)
def bricks_eval_is_never_taken_back(run: Run, faulty: bool) -> float:
    """model.eval() for a first check, and no model.train(): norms take means of 0 and spreads of 1 for raw units."""
    # Forums: validate() before the first epoch.
    data = bricks("raw")
    net = nn.Sequential(
        nn.BatchNorm1d(7, affine=False), nn.Linear(7, 32), nn.ReLU(), nn.BatchNorm1d(32), nn.Linear(32, 1)
    )
    run.watch(net)
    net.train(not faulty)
    opt = optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for x, y in batches(data.x, data.y, size=32, steps=150):
        opt.zero_grad()
        loss = F.mse_loss(net(x), y)
        loss.backward()
        opt.step()
        run.step(loss)
    return run.near(net, data)


@fault("torch", "stale_statistics", "norm_in_eval", worse=0.3, since=10)
def dials_momentum_the_keras_way(run: Run, faulty: bool) -> float:
    """BatchNorm2d(momentum=0.9999 from Keras, turned into 1e-4): what is remembered is how it began."""
    # Issues on ports: momentum means the opposite. A good training, and a test at chance.
    data = dials()
    data = data._replace(x=30 * data.x + 60, test_x=30 * data.test_x + 60)
    m = 1e-4 if faulty else 0.1
    net = nn.Sequential(
        nn.BatchNorm2d(1, momentum=m), nn.Conv2d(1, 10, 3, stride=2, padding=1), nn.BatchNorm2d(10, momentum=m),
        nn.ReLU(), nn.Flatten(), nn.Linear(490, 6),
    )  # fmt: skip
    run.watch(net)
    criterion, opt = nn.CrossEntropyLoss(), optim.Adam(net.parameters(), 0.005)
    for place, (x, y) in enumerate(batches(data.x, data.y, size=24, steps=110)):
        opt.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        opt.step()
        run.step(loss)
        if place % 25 == 24:  # a look at the test, as everybody has it
            net.eval()
            with torch.no_grad():
                net(data.test_x[:48])
            net.train()
    return run.right(net, data)
