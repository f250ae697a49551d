"""Opened (held out until 2026-11-30): programs that look odd, and in which nothing is wrong."""

import keras
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from keras import layers
from torch import nn, optim

from bench.faults.case import look_alike
from bench.faults.data import as_column, for_keras
from bench.faults.opened_2_data import (
    codes,
    colours,
    glyphs,
    graphs,
    hearts,
    hires,
    houses,
    load,
    maze,
    motion_scaled,
    payments,
    pendulum,
    reviews,
    spirals,
    ways,
)
from bench.faults.opened_2_keras_outputs import fit, stack
from bench.faults.opened_2_nets import CodeNet, GraphNet, QNet, dense
from bench.faults.opened_2_torch_inputs import Adapted
from bench.faults.run import Run, batches, train


@look_alike("torch", good=0.7)
def maze_target_network_without_gradients(run: Run) -> float:
    """Values of a maze grow from nought, and the loss with them; the target network learns by copies alone."""
    now, move, reward, then, end = maze()
    policy, target = QNet(), QNet()
    for parameter in target.parameters():
        parameter.requires_grad = False
    optimizer = optim.Adam(policy.parameters(), lr=0.005)
    criterion = nn.SmoothL1Loss()
    run.watch(policy, criterion, prefix="policy.")
    run.watch(target, prefix="target.")
    for step in range(300):
        if step % 10 == 0:
            target.load_state_dict(policy.state_dict())
        some = torch.randint(len(now), (64,))
        wanted = reward[some] + 0.9 * (1 - end[some]) * target(then[some]).max(1).values
        loss = criterion(policy(now[some]).gather(1, move[some, None]), wanted[:, None])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.step(loss)
    return ways(run.answers(policy, torch.eye(25)))


@look_alike("torch")
def pendulum_updated_by_hand(run: Run) -> float:
    """No optimiser: parameter -= rate * parameter.grad, under no_grad, and grad is set to None."""
    data = pendulum()
    model = dense(4, 64, 2, act=nn.Tanh)
    criterion = nn.MSELoss()
    run.watch(model, criterion)
    for x, y in batches(data.x, data.y, size=64, steps=120):
        loss = criterion(model(x), y)
        loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                assert parameter.grad is not None
                parameter.sub_(0.1 * parameter.grad)
                parameter.grad = None
        run.step(loss)
    return run.near(model, data)


@look_alike("torch")
def glyph_one_adapter_zero(run: Run) -> float:
    """LoRA as it should be: all is frozen but small matrices, the second of which begins at zero."""
    data = glyphs()
    data = data._replace(x=data.x.flatten(1), test_x=data.test_x.flatten(1))
    model = dense(256, 64, 8)
    optimizer = optim.Adam(model.parameters(), lr=0.003)
    for x, y in batches(data.x, data.y, steps=200):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    other = data._replace(y=(data.y + 5) % 8, test_y=(data.test_y + 5) % 8)
    adapted = nn.Sequential(*(Adapted(it, faulty=False) if isinstance(it, nn.Linear) else it for it in model))
    wanted = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    train(run, adapted, nn.CrossEntropyLoss(), optim.AdamW(wanted, lr=0.01), other, steps=200)
    return run.right(adapted, other)


@look_alike("torch")
def pendulum_rounded_straight_through(run: Run) -> float:
    """A code is rounded, and its gradient goes past that: code + (round(code) - code).detach()."""
    data = pendulum()

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(nn.Linear(4, 32), nn.Tanh())
            self.decoder = dense(32, 32, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            code = self.encoder(x)
            return self.decoder(code + (torch.round(code * 4) / 4 - code).detach())

    model = Net()
    train(run, model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.005), data, size=64, steps=150)
    return run.near(model, data)


@look_alike("torch")
def motion_reservoir(run: Run) -> float:
    """An echo state network: its recurrent weights are random and stay so, and a readout alone is trained."""
    data = motion_scaled()

    class Reservoir(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.RNN(3, 100, batch_first=True).requires_grad_(requires_grad=False)
            self.readout = nn.Linear(200, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            states, _ = self.rnn(x)
            return self.readout(torch.cat([states.mean(1), states.std(1)], 1))

    model = Reservoir()
    optimizer = optim.Adam(model.readout.parameters(), lr=0.02)
    train(run, model, nn.CrossEntropyLoss(), optimizer, data, steps=150)
    return run.right(model, data)


@look_alike("torch", good=0.4)
def payments_rare_and_focused_on(run: Run) -> float:
    """One payment in twenty is a fraud, and a focal loss with weights finds them."""
    data, wanted = as_column(payments(0.05)), as_column(payments(0.5))
    model = dense(10, 48, 48, 1)
    optimizer = optim.Adam(model.parameters(), lr=0.005)
    run.watch(model)
    for x, y in batches(data.x, data.y, size=64, steps=250):
        scores = model(x)
        sure = torch.sigmoid(torch.where(y > 0.5, scores, -scores))
        loss = (torch.where(y > 0.5, 0.95, 0.05) * (1 - sure) ** 2 * -sure.clamp(min=1e-7).log()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.step(loss)
    return run.right_side(model, wanted, 0.0)


@look_alike("torch")
def graphs_warm_restarts(run: Run) -> float:
    """The rate falls to zero every 40 steps and begins again, and the loss jumps a little."""
    data = graphs()
    model = GraphNet()
    optimizer = optim.AdamW(model.parameters(), lr=0.01)
    scheduler = optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 40)
    criterion = nn.MSELoss()
    run.watch(model, criterion)
    for x, y in batches(data.x, data.y, steps=200):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        scheduler.step()
        run.step(loss)
    return run.near(model, data)


@look_alike("torch")
def motion_a_third_of_labels_wrong(run: Run) -> float:
    """A third of all labels are drawn at random: the loss stays above 0.9, and it learns what there is."""
    data = motion_scaled()
    wrong = torch.rand(len(data.y)) < 0.33
    seen = data._replace(y=torch.where(wrong, torch.randint(4, data.y.shape), data.y))
    model = nn.Sequential(nn.Flatten(), nn.Linear(120, 32), nn.LayerNorm(32), nn.GELU(), nn.Linear(32, 4))
    train(run, model, nn.CrossEntropyLoss(), optim.AdamW(model.parameters(), lr=0.003), seen, size=64, steps=100)
    return run.right(model, data)


@look_alike("torch")
def houses_three_quantiles(run: Run) -> float:
    """The pinball loss of three quantiles of one target: (n, 3) is compared with (n, 1) on purpose."""
    data = houses()
    model = dense(5, 48, 48, 3, act=nn.SiLU)
    optimizer = optim.Adam(model.parameters(), lr=0.005)
    shares = torch.tensor([0.1, 0.5, 0.9])
    run.watch(model)
    for x, y in batches(data.x, data.y, size=64, steps=120):
        above = y - model(x)
        loss = torch.maximum(shares * above, (shares - 1) * above).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.step(loss)
    said = run.answers(model, data.test_x)[:, 1:2]
    return float(1 - (said - data.test_y).square().mean() / data.test_y.var())


@look_alike("torch")
def codes_most_places_ignored(run: Run) -> float:
    """Eight of twelve targets are -100, which CrossEntropyLoss leaves out."""
    data = codes()
    model = CodeNet()
    optimizer = optim.AdamW(model.parameters(), lr=0.003)
    criterion = nn.CrossEntropyLoss()
    run.watch(model, criterion)
    for x, y in batches(data.x, data.y, size=64, steps=180):
        wanted = torch.where(torch.arange(12) < 8, -100, y)
        loss = criterion(model(x).flatten(0, 1), wanted.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.step(loss)
    said = run.answers(model, data.test_x)[:, 8:].argmax(-1)
    return (float((said == data.test_y[:, 8:]).float().mean()) - 0.1) / 0.9


@look_alike("torch")
def spirals_sgd_at_one(run: Run) -> float:
    """Plain SGD at a rate of 1, which suits it."""
    data = spirals()
    model = dense(2, 64, 64, 3, act=nn.Tanh)
    train(run, model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=1.0), data, size=128, steps=250)
    return run.right(model, data)


@look_alike("torch", good=0.12)
def hires_logarithms_of_rates(run: Run) -> float:
    """Raw outputs, often negative, under PoissonNLLLoss, which takes logarithms; most targets are 0."""
    data = hires()
    model = dense(8, 48, 48, 1)
    train(run, model, nn.PoissonNLLLoss(), optim.Adam(model.parameters(), lr=0.005), data, size=64, steps=150)
    said = run.answers(model, data.test_x).exp()
    return float(1 - (said - data.test_y).square().mean() / data.test_y.var())


@look_alike("torch")
def houses_raw_into_a_norm(run: Run) -> float:
    """Feet, years, metres and dollars as they are, into a BatchNorm1d that scales them."""
    raw, data = houses(True), houses()
    data = data._replace(x=raw.x, test_x=raw.test_x)
    model = nn.Sequential(nn.BatchNorm1d(5), *dense(5, 48, 48, 1))
    train(run, model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.005), data, size=64, steps=150)
    return run.near(model, data)


@look_alike("torch", good=0.4)
def colours_two_passes_a_step(run: Run) -> float:
    """Sharpness-aware: weights are moved uphill, asked again, and put back before the step."""
    data = colours()
    model = dense(3, 48, 48, 8)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    criterion = nn.CrossEntropyLoss()
    run.watch(model, criterion)
    for x, y in batches(data.x, data.y, steps=120):
        loss = criterion(model(x), y)
        loss.backward()
        moved = [0.02 * F.normalize(it.grad.flatten(), dim=0).view_as(it) for it in model.parameters()]  # type: ignore[union-attr]
        with torch.no_grad():
            for parameter, change in zip(model.parameters(), moved, strict=True):
                parameter.add_(change)
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        with torch.no_grad():
            for parameter, change in zip(model.parameters(), moved, strict=True):
                parameter.sub_(change)
        optimizer.step()
        optimizer.zero_grad()
        run.step(loss)
    return run.right(model, data)


@look_alike("keras")
def keras_hearts_hinge_of_zero_and_one(run: Run) -> float:
    """Labels 0 and 1 under hinge, which Keras makes -1 and 1 of by itself."""
    data = for_keras(as_column(hearts()))
    model = stack((64,), layers.Dense(32, activation="relu"), layers.Dense(1, activation="tanh"))
    model.compile(keras.optimizers.Adam(0.005), "hinge")
    fit(run, model, data, epochs=4)
    return run.right_side(model, data, 0.0)


@look_alike("keras")
def keras_glyph_bytes_rescaled_inside(run: Run) -> float:
    """Images from 0 to 255, and a Rescaling(1 / 255) as the first layer."""
    data = for_keras(glyphs())
    data = data._replace(x=255 * data.x, test_x=255 * data.test_x)
    model = stack(
        (16, 16, 1), layers.Rescaling(1 / 255), layers.Conv2D(12, 3, activation="relu"), layers.MaxPooling2D(),
        layers.Conv2D(24, 3, activation="relu"), layers.Flatten(), layers.Dense(8, activation="softmax"),
    )  # fmt: skip
    model.compile(keras.optimizers.Adam(0.003), "sparse_categorical_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=3)
    return run.right(model, data)


@look_alike("keras")
def keras_houses_normalised_inside(run: Run) -> float:
    """Raw features and a Normalization layer, adapted to them."""
    data, raw = for_keras(houses()), for_keras(houses(True))
    data = data._replace(x=raw.x, test_x=raw.test_x)
    norm = layers.Normalization()
    norm.adapt(data.x)
    model = stack((5,), norm, layers.Dense(48, activation="relu"), layers.Dense(48, activation="relu"), layers.Dense(1))
    model.compile(keras.optimizers.Adam(0.005), "mae")
    fit(run, model, data, epochs=2)
    return run.near(model, data)


@look_alike("keras", good=0.4)
def keras_payments_rare_with_weights(run: Run) -> float:
    """One payment in twenty is a fraud, and counts twenty times by class_weight."""
    data, wanted = (for_keras(as_column(payments(share))) for share in (0.05, 0.5))
    model = stack(
        (10,), layers.Dense(48, activation="relu"), layers.Dense(48, activation="relu"),
        layers.Dense(1, activation="sigmoid"),
    )  # fmt: skip
    model.compile(keras.optimizers.Adam(0.005), "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=3, class_weight={0: 1.0, 1: 19.0})
    return run.right_side(model, wanted, 0.5)


@look_alike("keras")
def keras_load_rate_to_zero_at_the_end(run: Run) -> float:
    """CosineDecay brings the rate to zero at the last step, as it should."""
    data = for_keras(load())
    model = stack((24, 1), layers.GRU(24), layers.Dense(1))
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.02, 110)), "mse")
    fit(run, model, data, epochs=2)
    return run.near(model, data)


@look_alike("keras", good=0.4)
def keras_reviews_masked(run: Run) -> float:
    """Three places in four are padding, which is masked, and the words for it never learn."""
    data = for_keras(as_column(reviews()))
    model = keras.Sequential([
        layers.Input((30,), dtype="int32"), layers.Embedding(42, 16, mask_zero=True),
        layers.GlobalAveragePooling1D(), layers.Dense(16, activation="relu"), layers.Dense(1, activation="sigmoid"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy", metrics=["accuracy"])
    fit(run, model, data, epochs=3)
    return run.right_side(model, data, 0.5)


@look_alike("keras")
def keras_hires_relu_on_counts(run: Run) -> float:
    """Counts are never negative, and a ReLU at the end that begins above zero says so."""
    data = for_keras(hires(4.0))
    data = data._replace(y=np.sqrt(data.y), test_y=np.sqrt(data.test_y))
    model = stack(
        (8,), layers.Dense(48, activation="relu"), layers.Dense(48, activation="relu"),
        layers.Dense(1, activation="relu", bias_initializer="ones"),
    )  # fmt: skip
    model.compile(keras.optimizers.Adam(0.005), "mse")
    fit(run, model, data, epochs=3)
    return run.near(model, data)
