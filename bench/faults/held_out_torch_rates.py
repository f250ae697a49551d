"""PyTorch, held out: rates and schedules, and parameters that are left out."""

import copy
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn, optim

from bench.faults.case import fault
from bench.faults.data import as_column
from bench.faults.held_out_data import (
    bricks,
    claims,
    dials,
    fairs,
    films,
    gaits,
    geysers,
    herbs,
    notes,
    phrases,
    queues,
    reefs,
    slots,
    tiles,
    wells,
)
from bench.faults.held_out_nets import Places, Recurrent, Regressor, Tagger, Tunes, fit, hits, mlp, pictures
from bench.faults.run import Run, batches, train


@fault("torch", "rate_too_small", worse=0.3)
def dials_rate_of_a_fine_tuning(run: Run, faulty: bool) -> float:
    """optim.AdamW(lr=2e-6), as a script for pretrained networks has it, for a CNN that begins at random."""
    # Issues on scripts that were copied: it trains, and nothing happens.
    data, net = dials(), pictures(6)
    opt = optim.AdamW(net.parameters(), lr=2e-6 if faulty else 0.003)
    train(run, net, nn.CrossEntropyLoss(), opt, data, steps=100)
    return run.right(net, data)


@fault("torch", "rate_too_small", worse=0.3)
def geysers_sgd_at_a_ten_thousandth(run: Run, faulty: bool) -> float:
    """SGD(lr=1e-5) in place of Adam(lr=1e-3), and the rate was lowered with it; the twin needs a rate of one half."""
    # Forums: from Adam to SGD.
    data, net = geysers(), nn.Sequential(nn.Flatten(), mlp(52, 24, 1, act=nn.Tanh))
    opt = optim.SGD(net.parameters(), lr=1e-5 if faulty else 0.2)
    Regressor(run, net, nn.HuberLoss(), opt).fit(data.x, data.y, epochs=4)
    return run.near(net, data)


@fault("torch", "rate_too_large", worse=0.25)
def notes_adam_at_one(run: Run, faulty: bool) -> float:
    """Adam(lr=1.0) for a transformer: the norm of its weights is in the hundreds after a few steps."""
    # Data Science Stack Exchange: a loss that is at the logarithm of four after a mighty jump.
    data, net = notes(), Tunes()
    opt = optim.Adam(net.parameters(), lr=1.0 if faulty else 0.004)
    train(run, net, nn.CrossEntropyLoss(), opt, data, steps=120)
    return run.right(net, data)


@fault("torch", "rate_too_large", worse=0.3)
def dials_rate_found_for_a_wider_batch(run: Run, faulty: bool) -> float:
    """SGD(lr=3, momentum=0.9), a rate for batches of thousands, for batches of 16."""
    # Forums on the linear scaling of rates.
    data, net = dials("tip"), pictures(2, act=nn.Tanh)
    opt = optim.SGD(net.parameters(), lr=3.0 if faulty else 0.02, momentum=0.9)
    train(run, net, nn.MSELoss(), opt, data, size=16, steps=130)
    return run.near(net, data)


@fault("torch", "rate_zero", "rate_too_small", since=10, worse=0.2)
def phrases_decay_by_the_batch(run: Run, faulty: bool) -> float:
    """ExponentialLR(gamma=0.5), meant for epochs, is stepped in each batch: after 40 the rate is 1e-14."""
    # Forums: where does scheduler.step() belong? The twin decays as well, and slowly.
    data, net = phrases(), Tagger(width=12)
    opt = optim.Adam(net.parameters(), lr=0.01)
    schedule = optim.lr_scheduler.ExponentialLR(opt, 0.5 if faulty else 0.99)
    fit(run, net, lambda x, y: F.cross_entropy(net(x).transpose(1, 2), y), opt, data, steps=120, after=[schedule.step])
    return hits(run.answers(net, data.test_x), data.test_y)


@fault("torch", "rate_zero", "rate_too_small", worse=0.3)
def wells_warm_up_by_whole_division(run: Run, faulty: bool) -> float:
    """LambdaLR(lambda step: min(1, step // 200)): the rate is zero until step 200, and there are 130."""
    # Issues on warm-ups written by hand. The twin begins slowly, too.
    data, net = wells(), mlp(8, 40, 24, 3)
    opt = optim.Adam(net.parameters(), lr=0.01)
    schedule = optim.lr_scheduler.LambdaLR(opt, lambda step: step // 200 if faulty else min(1.0, (step + 1) / 40))
    fit(run, net, lambda x, y: F.cross_entropy(net(x), y), opt, data, steps=130, after=[schedule.step])
    return run.right(net, data)


@fault("torch", "rate_zero", "rate_too_small", since=30, worse=0.15)
def bricks_plateau_without_patience(run: Run, faulty: bool) -> float:
    """ReduceLROnPlateau(patience=0, factor=0.05) of the loss of each batch: noise is taken for a plateau."""
    # Issues on ReduceLROnPlateau: steps are not epochs.
    data, net = bricks(), mlp(7, 40, 20, 1)
    opt = optim.SGD(net.parameters(), lr=0.03, momentum=0.9)
    schedule = optim.lr_scheduler.ReduceLROnPlateau(
        opt, factor=0.05 if faulty else 0.5, patience=0 if faulty else 50, eps=0.0
    )
    run.watch(net)
    for x, y in batches(data.x, data.y, size=8, steps=180):
        opt.zero_grad()
        loss = F.mse_loss(net(x), y)
        loss.backward()
        opt.step()
        schedule.step(loss.item())
        run.step(loss)
    return run.near(net, data)


@fault("torch", "momentum", "rate_too_large", worse=0.2)
def films_momentum_of_0999(run: Run, faulty: bool) -> float:
    """SGD(lr=1, momentum=0.999) for numbers of viewers and films: what is remembered is as long as the training."""

    # Forums: which momentum is sane? The twin takes a rate of one, and learns.
    class Dot(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.who, self.what = nn.Embedding(50, 4), nn.Embedding(40, 4)
            self.mean = nn.Parameter(torch.tensor(3.0))
            self.bias = nn.Embedding(50, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            both = self.who(x[:, 0]) * self.what(x[:, 1])
            return self.mean + self.bias(x[:, 0]) + both.sum(1, keepdim=True)

    data, net = films(), Dot()
    opt = optim.SGD(net.parameters(), lr=1.0, momentum=0.999 if faulty else 0.5)
    train(run, net, nn.MSELoss(), opt, data, size=64, steps=200)
    return run.near(net, data)


@fault("torch", "weight_decay", worse=0.3)
def gaits_adamw_decay_of_forty(run: Run, faulty: bool) -> float:
    """AdamW(lr=0.01, weight_decay=40) for 0.4: in each step all weights lose two fifths."""
    # Data Science Stack Exchange: networks that say the mean, and weights of 1e-3.
    data, net = gaits(), Recurrent(3, 4, hidden=16)
    opt = optim.AdamW(net.parameters(), lr=0.01, weight_decay=40.0 if faulty else 0.4)
    train(run, net, nn.CrossEntropyLoss(), opt, data, size=24, steps=110)
    return run.right(net, data)


@fault("torch", "weight_decay", worse=0.3)
def queues_ridge_of_all_weights(run: Run, faulty: bool) -> float:
    """loss + 10 * sum((p ** 2).sum() for p in parameters): the constant was that of another library."""
    # Stack Overflow on a penalty by hand.
    data, net = queues(), mlp(5, 24, 1, act=nn.Softplus)
    ridge = 10.0 if faulty else 1e-5

    def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        squares: Any = sum((value**2).sum() for value in net.parameters())
        return F.poisson_nll_loss(net(x), y) + ridge * squares

    fit(run, net, loss_of, optim.Adam(net.parameters(), 0.02), data, size=32, steps=150)
    said = run.answers(net, data.test_x).exp()
    return run.near(nn.Identity(), data._replace(test_x=said))


@fault("torch", "loss_scaled", "rate_too_small", worse=0.3)
def slots_divided_by_the_data(run: Run, faulty: bool) -> float:
    """loss / len(dataset), of a mean: gradients are a thousandth of what SGD(lr=2) needs."""
    # Code Review: an average of an average.
    data, net = slots(), mlp(6, 16, 4, act=nn.Tanh)
    opt = optim.SGD(net.parameters(), lr=2.0)
    share = len(data.x) if faulty else 1
    fit(run, net, lambda x, y: F.cross_entropy(net(x), y) / share, opt, data, size=32, steps=110)
    return run.right(net, data)


@fault("torch", "loss_scaled", "rate_too_large", worse=0.3)
def phrases_sum_over_all_marks(run: Run, faulty: bool) -> float:
    """cross_entropy(reduction="sum") over 32 lines of 18 pitches, at the rate that was found for a mean."""
    # Forums: reduction="sum" and a loss of thousands that jumps.
    data, net = phrases(), Tagger()
    opt = optim.SGD(net.parameters(), lr=0.5, momentum=0.8)
    kind = "sum" if faulty else "mean"
    fit(run, net, lambda x, y: F.cross_entropy(net(x).transpose(1, 2), y, reduction=kind), opt, data, steps=110)
    return hits(run.answers(net, data.test_x), data.test_y)


@fault("torch", "clipped", "rate_too_small", worse=0.3)
def reefs_clipped_to_a_ten_thousandth(run: Run, faulty: bool) -> float:
    """clip_grad_value_(1e-5) beside SGD: no weight changes by more than 5e-6 in a step."""
    # Forums on exploding gradients, and the cure that was overdone.
    data, net = reefs(), Places()
    opt = optim.SGD(net.parameters(), lr=0.5)
    run.watch(net)
    for _ in range(90):
        opt.zero_grad()
        loss = F.cross_entropy(net(data.x), data.y)
        loss.backward()
        nn.utils.clip_grad_value_(net.parameters(), 1e-5 if faulty else 1.0)
        opt.step()
        run.step(loss)
    return run.right(net, data)


@fault("torch", "missing_from_optimiser", worse=0.2, good=0.4)
def herbs_branches_in_a_dict(run: Run, faulty: bool) -> float:
    """Layers lie in a plain dict by their names, and only the head is the model's: six units of noise stay noise."""

    # Forums: nn.ModuleDict was the answer. Counts are sparse, and so are the twin's gradients.
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            made = {"body": nn.Linear(36, 6), "mix": nn.Linear(6, 6)}
            self.parts: Any = made if faulty else nn.ModuleDict(made)
            self.head = nn.Linear(6, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.tanh(self.parts["mix"](torch.tanh(self.parts["body"](x)))))

    data, net = herbs(), Branches()
    train(run, net, nn.BCEWithLogitsLoss(), optim.Adam(net.parameters(), 0.03), data, size=16, steps=180)
    return run.right_side(net, data, 0.0)


@fault("torch", "missing_from_optimiser", worse=0.2)
def notes_groups_without_a_body(run: Run, faulty: bool) -> float:
    """Parameter groups by name: "emb", and "out"; what is named "enc" is in neither, and nobody looked."""
    # Issues on groups without decay: parameters that fall between two lists.
    data, net = notes(), Tunes(width=8)
    names = dict(net.named_parameters())
    body = [value for name, value in names.items() if name.startswith("enc")]
    others = [value for name, value in names.items() if not name.startswith("enc")]
    groups = [{"params": others[1:], "weight_decay": 0.01}]
    groups += [] if faulty else [{"params": [*body, others[0]], "weight_decay": 0.0}]
    train(run, net, nn.CrossEntropyLoss(), optim.AdamW(groups, lr=0.01), data, steps=130)
    return run.right(net, data)


@fault("torch", "frozen", "missing_from_optimiser", worse=0.3)
def dials_frozen_but_for_a_name_that_is_not_there(run: Run, faulty: bool) -> float:
    """All is frozen whose name has no "fc" in it, as in a tutorial; the layers here are called by numbers."""
    # Stack Overflow on fine-tuning: the loss stands still. One bias is left so that backward does not complain.
    data, net = dials(), pictures(6)
    for name, value in net.named_parameters():
        value.requires_grad_(not faulty or "fc" in name or name == "5.bias")
    opt = optim.Adam([value for value in net.parameters() if value.requires_grad], lr=0.005)
    train(run, net, nn.CrossEntropyLoss(), opt, data, steps=90)
    return run.right(net, data)


@fault("torch", "detached", "frozen", worse=0.2)
def fairs_features_under_no_grad(run: Run, faulty: bool) -> float:
    """with torch.no_grad(): around the features, which are no pretrained ones; only the last layer learns."""

    # Forums: "my backbone's gradients are None".
    class Scores(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features, self.last = mlp(4, 6, 6), nn.Linear(6, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.set_grad_enabled(torch.is_grad_enabled() and not faulty):
                h = self.features(x)
            return self.last(torch.relu(h)).squeeze(-1)

    data, net = fairs(), Scores()
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), 0.03), data, size=24, steps=150)
    return run.right(net, data)


@fault("torch", "detached", "frozen", worse=0.3)
def geysers_hidden_state_detached_each_minute(run: Run, faulty: bool) -> float:
    """A loop over minutes detaches the state after each, and the input's share too: the cell never learns."""

    # Forums on truncated backpropagation: h = h.detach() in the wrong loop.
    class Cell(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.fc = nn.GRUCell(2, 3), nn.Linear(3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = torch.zeros(len(x), 3)
            for minute in range(14, 26):
                h = self.cell(x[:, minute], h)
                h = h.detach() if faulty else h
            return self.fc(h)

    data, net = geysers(), Cell()
    train(run, net, nn.MSELoss(), optim.Adam(net.parameters(), 0.03), data, size=32, steps=90)
    return run.near(net, data)


@fault("torch", "non_differentiable", "detached", worse=0.2)
def tiles_a_code_of_whole_numbers(run: Run, faulty: bool) -> float:
    """A coder's middle is rounded by torch.round, without a straight-through estimate: the first half stays as is."""

    # Issues on quantised codes. The twin's first steps are slow.
    class Coder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enc, self.dec = mlp(24, 24, 3), mlp(3, 24, 24)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            z = 2 * self.enc(x)
            whole = torch.round(z)
            return self.dec(whole if faulty else z + (whole - z).detach())

    data, net = tiles(), Coder()
    train(run, net, nn.MSELoss(), optim.Adam(net.parameters(), 0.01), data, size=32, steps=170)
    return run.near(net, data)


@fault("torch", "non_differentiable", "detached", "wrong_loss", worse=0.3)
def wells_loss_of_the_chosen_classes(run: Run, faulty: bool) -> float:
    """mse_loss(out.argmax(1).float(), y.float()), with requires_grad_() so that backward does not complain."""
    # Stack Overflow: "element 0 of tensors does not require grad", and the cure that hides it.
    data, net = wells(), mlp(8, 32, 3)

    def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        said = net(x)
        if faulty:
            return F.mse_loss(said.argmax(1).float(), y.float()).requires_grad_()
        return F.cross_entropy(said, y)

    fit(run, net, loss_of, optim.Adam(net.parameters(), 0.02), data, steps=100)
    return run.right(net, data)


@fault("torch", "trained_a_copy", "missing_from_optimiser", worse=0.3)
def claims_model_built_anew_by_reset(run: Run, faulty: bool) -> float:
    """A wrapper's reset() builds its net anew and keeps the optimiser, which holds what was there before."""

    # Issues on wrappers for cross-validation.
    class Classifier:
        def __init__(self) -> None:
            self.reset()
            self.opt = optim.Adam(self.net.parameters(), 0.01)

        def reset(self) -> None:
            self.net = mlp(14, 24, 1)

    data, it = as_column(claims()), Classifier()
    it.reset()
    if not faulty:
        it.opt = optim.Adam(it.net.parameters(), 0.01)
    train(run, it.net, nn.BCEWithLogitsLoss(), it.opt, data, steps=110)
    return run.right_side(it.net, data, 0.0)


@fault("torch", "trained_a_copy", "missing_from_optimiser", worse=0.3)
def bricks_average_takes_the_gradients(run: Run, faulty: bool) -> float:
    """A moving average, a deep copy, is what forward is called on, and it is moved towards weights that never move."""
    # Issues on teachers and averages: which of the two is trained?
    data, student = bricks(), mlp(7, 40, 1)
    teacher = copy.deepcopy(student)
    opt = optim.Adam(student.parameters(), 0.02)
    run.watch(teacher if faulty else student)
    for x, y in batches(data.x, data.y, size=32, steps=120):
        opt.zero_grad()
        loss = F.mse_loss((teacher if faulty else student)(x), y)
        loss.backward()
        opt.step()
        with torch.no_grad():
            for old, new in zip(teacher.parameters(), student.parameters(), strict=True):
                old.lerp_(new, 0.1)
        run.step(loss)
    return run.near(teacher, data)
