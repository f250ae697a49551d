"""Opened (held out until 2026-12-01): programs that look odd, and in which nothing is wrong."""

import keras
import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from keras import layers
from torch import nn, optim

from bench.faults.case import look_alike
from bench.faults.data import as_column, for_keras
from bench.faults.opened_5_data import (
    dishes,
    embers,
    ferries,
    hives,
    kites,
    knots,
    loaves,
    locks,
    quilts,
    runes,
    stalls,
    trams,
    weeds,
)
from bench.faults.opened_5_keras_outputs import fit, tower
from bench.faults.opened_5_torch_outputs import Marks, Reader, Squares, layered
from bench.faults.run import Run, batches, train


@look_alike("torch")
def trams_lbfgs_like_full_batches(run: Run) -> float:
    """All samples in each step, by Rprop, whose rates are its own: the loss falls without noise."""
    data = trams()
    net = nn.Sequential(nn.Flatten(), layered(60, 32, 5))
    opt = optim.Rprop(net.parameters(), 0.002)
    criterion = nn.CrossEntropyLoss()
    run.watch(net, criterion)
    for _ in range(70):
        opt.zero_grad()
        loss = criterion(net(data.x), data.y)
        loss.backward()
        opt.step()
        run.step(loss)
    return run.right(net, data)


@look_alike("torch")
def quilts_two_phases_of_a_head(run: Run) -> float:
    """Forty steps train the head alone, under frozen convolutions; then all learn at a tenth of the rate."""
    data, net = quilts(), Squares(width=16)
    convolutions = [*net.conv1.parameters(), *net.conv2.parameters()]
    criterion = nn.CrossEntropyLoss()
    opt: optim.Optimizer = optim.Adam(net.head.parameters(), 0.02)
    run.watch(net, criterion)
    for value in convolutions:
        value.requires_grad_(False)
    for place, (x, y) in enumerate(batches(data.x, data.y, size=32, steps=130)):
        if place == 40:
            for value in convolutions:
                value.requires_grad_(True)
            opt = optim.Adam(net.parameters(), 0.003)
        opt.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        opt.step()
        run.step(loss)
    return run.right(net, data)


@look_alike("torch", good=0.35)
def runes_a_mask_for_most_places(run: Run) -> float:
    """Half of each line is blank and masked, and a blank has a code of zeros that is never updated."""
    data, net = runes(), Marks()
    net.codes = nn.Embedding(30, 24, padding_idx=0)
    train(run, net, nn.CrossEntropyLoss(), optim.AdamW(net.parameters(), 0.003), data, steps=120)
    return run.right(net, data)


@look_alike("torch")
def stalls_sum_of_a_poisson_loss(run: Run) -> float:
    """PoissonNLLLoss(reduction="sum") is in the hundreds below zero, and clipping is at work in each step."""
    data, net = stalls(), layered(4, 32, 16, 1, act=nn.Tanh)
    opt = optim.Adam(net.parameters(), 0.02)
    criterion = nn.PoissonNLLLoss(reduction="sum")
    run.watch(net, criterion)
    for x, y in batches(data.x, data.y, size=32, steps=120):
        opt.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        run.step(loss)
    said = run.answers(net, data.test_x).exp()
    return float(1 - (said - data.test_y).square().mean() / data.test_y.var())


@look_alike("torch")
def locks_tanh_and_soft_margin(run: Run) -> float:
    """Labels of -1 and 1 under SoftMarginLoss, which is made for them."""
    data = as_column(locks())
    net = layered(9, 40, 24, 1)
    train(
        run, net, nn.SoftMarginLoss(), optim.Adam(net.parameters(), 0.005), data._replace(y=2 * data.y - 1), steps=110
    )
    return run.right_side(net, data, 0.0)


@look_alike("torch", good=0.4)
def embers_a_code_of_three(run: Run) -> float:
    """A coder whose middle has three units, each layer narrower than the one before; its copies end in a sigmoid."""
    data = embers()
    net = nn.Sequential(layered(16, 24, 3, act=nn.GELU), layered(3, 24, 16, act=nn.GELU), nn.Sigmoid())
    train(run, net, nn.MSELoss(), optim.Adam(net.parameters(), 0.02), data, steps=140)
    return run.near(net, data)


@look_alike("torch")
def knots_scores_of_weight_tied_codes(run: Run) -> float:
    """Scores are dot products with the codes themselves, times a learned scale; there is no head."""

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.codes, self.rnn = nn.Embedding(6, 24), nn.GRU(24, 24, batch_first=True)
            self.scale = nn.Parameter(torch.tensor(0.5))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            states = self.rnn(self.codes(x))[0]
            return (self.scale * states @ self.codes.weight.T).transpose(1, 2)

    data, net = knots(), Tied()
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), 0.02), data, steps=140)
    said = run.answers(net, data.test_x).argmax(1)
    return (float((said == data.test_y).float().mean()) - 1 / 6) * 6 / 5


@look_alike("torch")
def ferries_one_long_warm_up(run: Run) -> float:
    """The rate rises for 60 of 150 steps and falls by a cosine thereafter: OneCycleLR."""
    data, net = ferries(), Reader(2, 1)
    opt = optim.AdamW(net.parameters(), 1e-3)
    schedule = optim.lr_scheduler.OneCycleLR(opt, 0.02, total_steps=151, pct_start=0.4)
    criterion = nn.MSELoss()
    run.watch(net, criterion)
    for x, y in batches(data.x, data.y, size=32, steps=150):
        opt.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        opt.step()
        schedule.step()
        run.step(loss)
    return run.near(net, data)


@look_alike("torch")
def hives_two_answers_by_one_loss(run: Run) -> float:
    """Four heads vote, and each is trained on its own share of the batch alone: most gradients of a head are zero."""

    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = layered(7, 48, 32)
            self.heads = nn.ModuleList(nn.Linear(32, 4) for _ in range(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = torch.relu(self.body(x))
            said = torch.stack([head(h) for head in self.heads], 1)
            if not self.training:
                return said.mean(1)
            return said[torch.arange(len(x)), torch.arange(len(x)) % 4]

    data, net = hives(), Heads()
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), 0.01), data, steps=130)
    return run.right(net, data)


@look_alike("torch")
def dishes_sparse_gradients(run: Run) -> float:
    """Embedding(sparse=True) under SparseAdam, and a head under SGD: in each step most codes rest."""

    class Factors(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.who, self.what = nn.Embedding(35, 8, sparse=True), nn.Embedding(22, 8, sparse=True)
            self.head = nn.Linear(24, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            who, what = self.who(x[:, 0]), self.what(x[:, 1])
            return self.head(torch.cat([who, what, who * what], 1))

    data, net = dishes(), Factors()
    codes = optim.SparseAdam([net.who.weight, net.what.weight], 0.03)
    head = optim.SGD(net.head.parameters(), 0.1)
    criterion = nn.MSELoss()
    run.watch(net, criterion)
    for x, y in batches(data.x, data.y, size=64, steps=150):
        codes.zero_grad()
        head.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        codes.step()
        head.step()
        run.step(loss)
    return run.near(net, data)


@look_alike("torch")
def kites_a_number_far_from_one(run: Run) -> float:
    """Places from 0 to 14, as they are; the last bias starts at 7, where they lie on average."""
    data = kites()
    data = data._replace(y=7 + 4.5 * data.y, test_y=7 + 4.5 * data.test_y)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 4, stride=2), nn.ReLU(), nn.Conv2d(8, 12, 3), nn.ReLU(), nn.Flatten(), nn.Linear(192, 2)
    )
    head = net[5]
    assert isinstance(head, nn.Linear)
    nn.init.constant_(head.bias, 7.0)
    train(run, net, nn.SmoothL1Loss(), optim.Adam(net.parameters(), 0.005), data, steps=130)
    return run.near(net, data)


@look_alike("torch")
def weeds_labels_that_are_smoothed(run: Run) -> float:
    """Labels of 0.05 and 0.95 under BCEWithLogitsLoss(pos_weight=...): the loss cannot reach zero."""
    data = weeds()
    net = layered(10, 48, 6)
    criterion = nn.BCEWithLogitsLoss(pos_weight=torch.full((6,), 1.5))
    wanted = data._replace(y=0.05 + 0.9 * data.y)
    train(run, net, criterion, optim.Adam(net.parameters(), 0.01), wanted, steps=110)
    said = run.answers(net, data.test_x) > 0
    return float(1 - 2 * (said.float() - data.test_y).abs().mean() / 0.55)


@look_alike("torch")
def loaves_noise_on_every_input(run: Run) -> float:
    """Inputs are blurred by noise of 0.3 and a tenth is hidden in each step; the test has neither."""
    data, net = loaves(), layered(6, 64, 32, 1)
    opt = optim.Adamax(net.parameters(), 0.01)
    criterion = nn.L1Loss()
    run.watch(net, criterion)
    for x, y in batches(data.x, data.y, size=32, steps=150):
        opt.zero_grad()
        loss = criterion(net(F.dropout(x + 0.3 * torch.randn_like(x), 0.1)), y)
        loss.backward()
        opt.step()
        run.step(loss)
    return run.near(net, data)


@look_alike("torch")
def hives_average_of_weights(run: Run) -> float:
    """An average of the weights is kept by AveragedModel and asked at the end; it never has a gradient."""
    data, net = hives(), layered(7, 48, 32, 4)
    average = optim.swa_utils.AveragedModel(net, multi_avg_fn=optim.swa_utils.get_ema_multi_avg_fn(0.9))
    opt = optim.Adam(net.parameters(), 0.01)
    criterion = nn.CrossEntropyLoss()
    run.watch(net, criterion)
    for x, y in batches(data.x, data.y, size=32, steps=120):
        opt.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        opt.step()
        average.update_parameters(net)
        run.step(loss)
    return run.right(average, data)


@look_alike("keras")
def keras_weeds_sigmoid_and_dice(run: Run) -> float:
    """keras.losses.Dice for labels that may be several: the loss stays far from zero."""
    data = for_keras(weeds())
    model = tower((10,), layers.Dense(6, activation="sigmoid"))
    model.compile(keras.optimizers.Adam(0.01), keras.losses.Dice(axis=1))
    fit(run, model, data, epochs=4)
    said = run.answers(model, data.test_x).numpy()
    return float(1 - 2 * abs((said > 0.5) - data.test_y).mean() / 0.55)


@look_alike("keras")
def keras_stalls_log_cosh_of_softplus(run: Run) -> float:
    """Counts from 0 to 40 by a softplus under LogCosh, from a bias of three."""
    data = for_keras(stalls())
    model = tower((4,), layers.Dense(1, activation="softplus", bias_initializer=keras.initializers.Constant(3.0)))
    model.compile(keras.optimizers.Adam(0.01), keras.losses.LogCosh())
    fit(run, model, data, epochs=5)
    return run.near(model, data)


@look_alike("keras")
def keras_quilts_global_maximum(run: Run) -> float:
    """GlobalMaxPooling2D keeps one place of each channel: most gradients of the convolution are zero."""
    data = for_keras(quilts())
    model = keras.Sequential([
        layers.Input((12, 12, 1)), layers.Conv2D(16, 5, activation="relu"), layers.Conv2D(16, 3, activation="relu"),
        layers.GlobalMaxPooling2D(), layers.Dense(5, activation="softmax"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=4)
    return run.right(model, data)


@look_alike("keras")
def keras_trams_weights_of_samples(run: Run) -> float:
    """sample_weight of 0.2 to 5, drawn at random: the loss is noisier than it need be."""
    data = for_keras(trams())
    weights = torch.empty(len(data.x)).uniform_(0.2, 5.0, generator=torch.Generator().manual_seed(5)).numpy()
    model = keras.Sequential([layers.Input((20, 3)), layers.GRU(20), layers.Dense(5, activation="softmax")])
    model.compile(keras.optimizers.Nadam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data, sample_weight=weights)
    return run.right(model, data)


@look_alike("keras")
def keras_locks_hinge_of_minus_one(run: Run) -> float:
    """Labels of -1 and 1, a tanh, and "squared_hinge"."""
    data = for_keras(as_column(locks()))
    model = tower((9,), layers.Dense(1, activation="tanh"))
    model.compile(keras.optimizers.Adam(0.005), "squared_hinge")
    fit(run, model, data._replace(y=2 * data.y - 1), epochs=4)
    return run.right_side(model, data, 0.0)


@look_alike("keras", good=0.4)
def keras_loaves_layer_norm_on_raw_scales(run: Run) -> float:
    """Grams, seconds and kelvins as they were noted down, and a Normalization layer that was adapted to them."""
    data = for_keras(loaves("raw"))
    norm = layers.Normalization()
    norm.adapt(data.x)
    model = keras.Sequential([
        layers.Input((6,)), norm, layers.Dense(40, activation="relu"), layers.Dense(24, activation="relu"),
        layers.Dense(1),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.01), "mae")
    fit(run, model, data, epochs=4)
    return run.near(model, data)
