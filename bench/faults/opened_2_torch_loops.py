"""PyTorch, opened (held out until 2026-11-30): what the loop does."""

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn, optim

from bench.faults.case import fault
from bench.faults.opened_2_data import (
    brain,
    codes,
    hearts,
    motion,
    shape_boxes,
)
from bench.faults.opened_2_nets import CodeNet, dense
from bench.faults.opened_2_torch_learning import Ahead
from bench.faults.run import Run, batches, train


@fault("torch", "no_zero_grad")
def hearts_zero_grad_without_parentheses(run: Run, faulty: bool) -> float:
    """optimizer.zero_grad, without parentheses, does nothing."""
    data = hearts()
    model = dense(64, 32, 2)
    optimizer = optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    run.watch(model, criterion)
    for x, y in batches(data.x, data.y, steps=100):
        optimizer.zero_grad if faulty else optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        run.step(loss)
    return run.right(model, data)


@fault("torch", "no_step", "rate_too_small", "gradients_cleared")
def brain_steps_once_an_epoch(run: Run, faulty: bool) -> float:
    """optimizer.step() is indented too little: it is made once an epoch, of 18 batches."""
    data = brain()
    model = Ahead()
    optimizer = optim.Adam(model.parameters(), lr=0.005)
    criterion = nn.MSELoss()
    run.watch(model, criterion)
    for step, (x, y) in enumerate(batches(data.x, data.y, steps=180), 1):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        if not faulty or step % 18 == 0:
            optimizer.step()
        run.step(loss)
    return run.near(model, data)


@fault("torch", "no_backward")
def codes_backward_without_parentheses(run: Run, faulty: bool) -> float:
    """loss.backward, without parentheses."""
    data = codes()
    model = CodeNet()
    optimizer = optim.AdamW(model.parameters(), lr=0.003)
    criterion = nn.CrossEntropyLoss()
    run.watch(model, criterion)
    for x, y in batches(data.x, data.y, size=64, steps=150):
        optimizer.zero_grad()
        loss = criterion(model(x).flatten(0, 1), y.flatten())
        loss.backward if faulty else loss.backward()
        optimizer.step()
        run.step(loss)
    return run.right(model, data)


@fault("torch", "stale_statistics", "norm_in_eval", since=20)
def motion_momentum_of_another_framework(run: Run, faulty: bool) -> float:
    """BatchNorm1d(momentum=0.001), by one who has 0.999 in mind: in evaluation it knows nothing of the data."""
    data = motion()
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(120, momentum=0.001 if faulty else 0.1), *dense(120, 32, 4))
    optimizer = optim.Adam(model.parameters(), lr=0.005)
    criterion = nn.CrossEntropyLoss()
    run.watch(model, criterion)
    for step, (x, y) in enumerate(batches(data.x, data.y, steps=100), 1):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        run.step(loss)
        if step % 20 == 0:
            model.eval()
            with torch.no_grad():
                F.cross_entropy(model(data.test_x[:100]), data.test_y[:100])
            model.train()
    return run.right(model, data)


@fault("torch", "dropout", worse=0.15)
def boxes_dropout_after_the_last_layer(run: Run, faulty: bool) -> float:
    """Dropout(0.5) stands after the last linear layer of a regression."""
    data = shape_boxes()
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), *dense(256, 32, 3),
    )  # fmt: skip
    if faulty:
        model.append(nn.Dropout(0.5))
    train(run, model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.005), data, steps=150)
    return run.near(model, data)
