"""PyTorch, opened (held out until 2026-12-01): what the loop does."""

import copy

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn, optim

from bench.faults.case import fault
from bench.faults.data import as_column
from bench.faults.opened_5_data import dishes, ferries, hives, knots, loaves, locks, quilts, trams
from bench.faults.opened_5_torch_outputs import Reader, Squares, layered
from bench.faults.run import Data, Run, batches, train


@fault("torch", "no_zero_grad", worse=0.15)
def trams_gru_never_cleared(run: Run, faulty: bool) -> float:
    """No zero_grad at all, for a recurrent network by SGD with momentum."""
    # Stack Overflow: why zero_grad has to be called; a loss that swings.
    data, net = trams(), Reader(3, 5)
    opt = optim.SGD(net.parameters(), 0.1, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    run.watch(net, criterion)
    for x, y in batches(data.x, data.y, size=32, steps=130):
        if not faulty:
            opt.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        opt.step()
        run.step(loss)
    return run.right(net, data)


@fault("torch", "no_zero_grad", worse=0.15)
def quilts_only_the_head_is_cleared(run: Run, faulty: bool) -> float:
    """net.head.zero_grad() in place of net.zero_grad(): the convolutions' gradients pile up."""
    # Forums: zero_grad of a part, after a model was split.
    data, net = quilts(), Squares()
    opt = optim.SGD(net.parameters(), 0.1, momentum=0.5)
    criterion = nn.CrossEntropyLoss()
    run.watch(net, criterion)
    for x, y in batches(data.x, data.y, size=32, steps=140):
        (net.head if faulty else net).zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        opt.step()
        run.step(loss)
    return run.right(net, data)


@fault("torch", "gradients_cleared", "no_step", worse=0.3)
def locks_cleared_at_the_wrong_place(run: Run, faulty: bool) -> float:
    """backward, zero_grad, step: two lines were swapped."""
    # PyTorch forum, again and again: in which order the three calls come.
    data = as_column(locks())
    net = layered(9, 40, 24, 1, act=nn.ELU)
    opt = optim.SGD(net.parameters(), 0.1, momentum=0.9)
    criterion = nn.BCEWithLogitsLoss()
    run.watch(net, criterion)
    for x, y in batches(data.x, data.y, size=32, steps=110):
        loss = criterion(net(x), y)
        if faulty:
            loss.backward()
            opt.zero_grad()
        else:
            opt.zero_grad()
            loss.backward()
        opt.step()
        run.step(loss)
    return run.right_side(net, data, 0.0)


@fault("torch", "no_step", worse=0.3)
def ferries_step_without_parentheses(run: Run, faulty: bool) -> float:
    """The loop says opt.step, not opt.step()."""
    # Stack Overflow: a loss that is the same to the last digit in each epoch.
    data, net = ferries(), Reader(2, 1)
    opt = optim.Adam(net.parameters(), 0.01)
    run.watch(net)
    for x, y in batches(data.x, data.y, size=32, steps=100):
        opt.zero_grad()
        loss = F.mse_loss(net(x), y)
        loss.backward()
        if faulty:
            opt.step  # noqa: B018 (as people write it)
        else:
            opt.step()
        run.step(loss)
    return run.near(net, data)


@fault("torch", "no_backward", "no_step", worse=0.3)
def hives_skips_what_is_finite(run: Run, faulty: bool) -> float:
    """A line "if torch.isfinite(loss): continue" was to skip what is not finite."""
    # Issues of training scripts: a guard against NaN that is the wrong way round.
    data, net = hives(), layered(7, 48, 32, 4, act=nn.GELU)
    opt = optim.Adam(net.parameters(), 0.01)
    criterion = nn.CrossEntropyLoss()
    run.watch(net, criterion)
    for x, y in batches(data.x, data.y, size=32, steps=110):
        opt.zero_grad()
        loss = criterion(net(x), y)
        skipped = bool(torch.isfinite(loss)) if faulty else not torch.isfinite(loss)
        if not skipped:
            loss.backward()
            opt.step()
        run.step(loss)
    return run.right(net, data)


@fault("torch", "set_anew", worse=0.15, since=36)
def hives_best_is_the_worst(run: Run, faulty: bool) -> float:
    """After each epoch the best weights are loaded; by a ">" for a "<" those are the first."""
    # Forums on checkpoints: a model that starts anew in each epoch.
    data, net = hives(), layered(7, 48, 32, 4)
    opt = optim.SGD(net.parameters(), 0.1, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    kept = copy.deepcopy(net.state_dict())
    run.watch(net, criterion)
    for place, (x, y) in enumerate(batches(data.x, data.y, size=32, steps=160)):
        if place and place % 37 == 0 and faulty:
            net.load_state_dict(kept)
        opt.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        opt.step()
        run.step(loss)
    return run.right(net, data)


@fault("torch", "dropout", worse=0.15)
def trams_dropout_in_each_layer(run: Run, faulty: bool) -> float:
    """p=0.95 in nn.Dropout, where 0.05 was meant, after each of three layers."""
    # Forums: p is the share that is dropped.
    data = trams()
    share = 0.95 if faulty else 0.05
    parts: list[nn.Module] = [nn.Flatten()]
    for before, after in ((60, 48), (48, 32), (32, 24)):
        parts += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(share)]
    net = nn.Sequential(*parts, nn.Linear(24, 5))
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), 0.005), data, steps=120)
    return run.right(net, data)


@fault("torch", "norm_in_eval", "stale_statistics", "unscaled_inputs", worse=0.15, since=1)
def loaves_eval_after_the_first_look(run: Run, faulty: bool) -> float:
    """net.eval() for a look at the first batch, and never net.train() again: norms stay at 0 and 1."""
    # Pages on modes: where train() has to be called.
    data = loaves()
    data = data._replace(x=30 * data.x + 40, test_x=30 * data.test_x + 40)
    net = nn.Sequential(
        nn.BatchNorm1d(6), nn.Linear(6, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 24), nn.BatchNorm1d(24),
        nn.ReLU(), nn.Linear(24, 1),
    )  # fmt: skip
    if faulty:
        net.eval()
    train(run, net, nn.MSELoss(), optim.Adam(net.parameters(), 0.005), data, steps=130)
    return run.near(net, data)


@fault("torch", "stale_statistics", "norm_in_eval", worse=0.2)
def trams_norms_of_a_ten_thousandth(run: Run, faulty: bool) -> float:
    """BatchNorm1d(momentum=0.0001): 0.9999 of Keras, turned round; validation after each epoch."""
    # Issues on train() and eval(): a test that is at chance where training is perfect.
    data = trams()
    data = data._replace(x=12 * data.x + 5, test_x=12 * data.test_x + 5)
    pace = 1e-4 if faulty else 0.2
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(60, 40), nn.BatchNorm1d(40, momentum=pace), nn.ReLU(), nn.Linear(40, 24),
        nn.BatchNorm1d(24, momentum=pace), nn.ReLU(), nn.Linear(24, 5),
    )  # fmt: skip
    opt = optim.Adam(net.parameters(), 0.005)
    criterion = nn.CrossEntropyLoss()
    run.watch(net, criterion)
    for place, (x, y) in enumerate(batches(data.x, data.y, size=32, steps=120), 1):
        opt.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        opt.step()
        if place % 30 == 0:
            net.eval()
            with torch.no_grad():
                criterion(net(data.test_x[:64]), data.test_y[:64])
            net.train()
        run.step(loss)
    return run.right(net, data)


@fault("torch", "bootstrapped_targets", "target_scale", worse=0.3)
def walks_discount_above_one(run: Run, faulty: bool) -> float:
    """Values of six rooms in a row feed on themselves, at a discount of 1.1 and without an end."""
    # Artificial Intelligence Stack Exchange: values that grow without end.
    generator = torch.Generator().manual_seed(6)
    discount, ends = (1.1, False) if faulty else (0.9, True)
    net = layered(6, 32, 1)
    opt = optim.Adam(net.parameters(), 0.02)
    criterion = nn.MSELoss()
    run.watch(net, criterion)
    for _ in range(220):
        room = torch.randint(6, (32,), generator=generator)
        following = (room + 1).clamp_max(5)
        reward = (room == 5).float()[:, None]
        goes_on = torch.ones(32, 1) if not ends else (room < 5).float()[:, None]
        with torch.no_grad():
            wanted = reward + discount * goes_on * net(F.one_hot(following, 6).float())
        opt.zero_grad()
        loss = criterion(net(F.one_hot(room, 6).float()), wanted)
        loss.backward()
        opt.step()
        run.step(loss)
    true = 0.9 ** torch.arange(5.0, -1.0, -1.0)[:, None]
    return run.near(net, Data(torch.eye(6), true, torch.eye(6), true))


@fault("torch", "no_step", worse=0.3)
def dishes_accumulates_for_ever(run: Run, faulty: bool) -> float:
    """Gradients are gathered over 4,096 batches, as "batch size" was taken for the number of batches."""

    # Forums on accumulating: a model that is as it began.
    class Factors(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.who, self.what = nn.Embedding(35, 8), nn.Embedding(22, 8)
            self.out = layered(24, 24, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            who, what = self.who(x[:, 0]), self.what(x[:, 1])
            return self.out(torch.cat([who, what, who * what], 1))

    data, net = dishes(), Factors()
    opt = optim.Adam(net.parameters(), 0.02)
    criterion = nn.MSELoss()
    turns = 4096 if faulty else 2
    run.watch(net, criterion)
    for place, (x, y) in enumerate(batches(data.x, data.y, size=64, steps=200), 1):
        loss = criterion(net(x), y) / (1 if faulty else 2)
        loss.backward()
        if place % turns == 0:
            opt.step()
            opt.zero_grad()
        run.step(loss)
    return run.near(net, data)


@fault("torch", "no_step", worse=0.3)
def knots_scaler_is_never_asked_to_step(run: Run, faulty: bool) -> float:
    """scaler.scale(loss).backward() and scaler.update(), but no scaler.step(opt)."""

    # Issues on mixed precision: three calls, of which one was lost.
    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.codes, self.mix = nn.Embedding(6, 16), nn.Conv1d(16, 32, 2)
            self.head = nn.Linear(32, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = F.pad(self.codes(x).transpose(1, 2), (1, 0))
            return self.head(torch.relu(self.mix(h)).transpose(1, 2))

    data, net = knots(), Tagger()
    opt = optim.Adam(net.parameters(), 0.02)
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    run.watch(net)
    for x, y in batches(data.x, data.y, size=32, steps=110):
        opt.zero_grad()
        loss = F.cross_entropy(net(x).flatten(0, 1), y.flatten())
        scaler.scale(loss).backward()
        if faulty:
            scaler.unscale_(opt)
        else:
            scaler.step(opt)
        scaler.update()
        run.step(loss)
    return run.right(net, data)
