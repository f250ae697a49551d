"""Opened: programs that look odd, and in which nothing is wrong. Held out until 2026-11-30, tuned on since."""

import itertools

import keras
import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from keras import layers
from torch import nn, optim

from bench.faults.case import look_alike
from bench.faults.opened_nets import Forecaster, PatchCNN, Transformer, letters
from bench.faults.run import Data, Run, arrays, batches, numbers, tensors, train


@look_alike("torch")
def iris_lbfgs(run: Run) -> float:
    """LBFGS with a closure, which runs the model many times in a step, on all data at once."""
    data = tensors("iris")
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    optimizer = optim.LBFGS(model.parameters(), lr=0.2, max_iter=4)
    criterion = nn.CrossEntropyLoss()
    run.watch(model, criterion)
    for _ in range(20):

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = criterion(model(data.x), data.y)
            loss.backward()
            return loss

        run.step(optimizer.step(closure))
    return run.right(model, data)


@look_alike("torch", good=0.3)
def portrait_adversaries(run: Run) -> float:
    """A generator and a discriminator, whose losses hardly fall; measured by the mean picture."""
    data = tensors("portrait")
    generator = nn.Sequential(nn.Linear(8, 32), nn.LeakyReLU(0.2), nn.Linear(32, 100))
    critic = nn.Sequential(nn.Linear(100, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
    g = optim.Adam(generator.parameters(), lr=0.002, betas=(0.5, 0.999))
    d = optim.Adam(critic.parameters(), lr=0.002, betas=(0.5, 0.999))
    criterion = nn.BCEWithLogitsLoss()
    first = generator(torch.randn(200, 8)).std(0).mean().detach()
    run.watch(generator, prefix="g.")
    run.watch(critic, criterion, prefix="d.")
    for real, _ in batches(data.x, data.y, size=64, steps=60):
        fake = generator(torch.randn(len(real), 8))
        d.zero_grad()
        ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
        lost = criterion(critic(real), ones) + criterion(critic(fake.detach()), zeros)
        lost.backward()
        d.step()
        g.zero_grad()
        fooled = criterion(critic(fake), ones)
        fooled.backward()
        g.step()
        run.step(fooled)
    run.close()
    # It has spread out towards the pictures, whose deviation is 1.
    return float(min(generator(torch.randn(200, 8)).std(0).mean() - first, torch.tensor(1.0)) / (1.0 - first))


@look_alike("torch", good=0.3)
def portrait_contrastive(run: Run) -> float:
    """Two noisy views of each of 128 patches are to find each other; the loss begins near the logarithm of 128."""
    data = tensors("portrait")
    model = nn.Sequential(nn.Linear(100, 64), nn.ReLU(), nn.Linear(64, 16))
    optimizer = optim.Adam(model.parameters(), lr=0.003)
    criterion = nn.CrossEntropyLoss()
    run.watch(model, criterion)
    for x, _ in batches(data.x, data.y, size=128, steps=60):
        one, two = (F.normalize(model(x + 0.3 * torch.randn_like(x)), dim=1) for _ in range(2))
        optimizer.zero_grad()
        loss = criterion(one @ two.t() / 0.2, torch.arange(len(x)))
        loss.backward()
        optimizer.step()
        run.step(loss)
    x = data.test_x[:128]
    one, two = (F.normalize(run.answers(model, x + 0.3 * torch.randn_like(x)), dim=1) for _ in range(2))
    return float(((one @ two.t()).argmax(1) == torch.arange(128)).float().mean())


@look_alike("torch", good=0.25)
def module_with_clipping_and_accumulation(run: Run) -> float:
    """A transformer with clipping at norm 1, a warm-up, and two batches to an update."""
    data = tensors("which_module")
    model = Transformer(3, dropout=0.1)
    optimizer = optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    scheduler = optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / 5, 1.0))
    criterion = nn.CrossEntropyLoss()
    run.watch(model, criterion)
    for step, (x, y) in enumerate(batches(data.x, data.y, steps=60), 1):
        loss = criterion(model(x), y) / 2
        loss.backward()
        if step % 2 == 0:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step()
        run.step(loss)
    return run.right(model, data)


@look_alike("torch", good=0.08)
def next_sign_tied_embeddings(run: Run) -> float:
    """A language model whose head is its embedding; most signs are rare."""
    data = tensors("reference_text")
    model = Transformer(70, places=32, each=True)
    model.head.weight = model.embed.weight
    nn.init.normal_(model.embed.weight, std=0.1)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    criterion = nn.CrossEntropyLoss()
    run.watch(model, criterion)
    for x, y in batches(data.x, data.y, steps=60):
        optimizer.zero_grad()
        loss = criterion(model(x).flatten(0, 1), y.flatten())
        loss.backward()
        optimizer.step()
        run.step(loss)
    return run.right(model, data)


@look_alike("torch", good=0.3)
def letters_sigmoid_for_many_labels(run: Run) -> float:
    """Eight labels that hold at once, most of them rare, under BCEWithLogitsLoss."""
    data = letters()
    model = nn.Sequential(nn.EmbeddingBag(70, 48, mode="sum"), nn.ReLU(), nn.Linear(48, 8))
    train(run, model, nn.BCEWithLogitsLoss(), optim.Adam(model.parameters(), lr=0.03), data, size=64, steps=60)
    return run.near(nn.Sequential(model, nn.Sigmoid()), data)


@look_alike("torch")
def iris_deep_linear_between_norms(run: Run) -> float:
    """A linear projection to two numbers, without an activation after it, is to be drawn; the rest is not linear."""
    data = tensors("iris")
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2), nn.Linear(2, 3))
    train(run, model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.03), data, size=16)
    return run.right(model, data)


@look_alike("torch")
def wine_margin_of_raw_scores(run: Run) -> float:
    """MultiMarginLoss on raw scores: no softmax anywhere."""
    data = tensors("wine")
    model = nn.Sequential(nn.Linear(13, 16), nn.SELU(), nn.Linear(16, 3))
    train(run, model, nn.MultiMarginLoss(), optim.Adam(model.parameters(), lr=0.01), data, size=16)
    return run.right(model, data)


@look_alike("torch")
def membrane_gaussian_likelihood(run: Run) -> float:
    """GaussianNLLLoss: the loss falls below zero, and rightly."""
    data = tensors("membrane")
    model = Forecaster()
    spread = nn.Parameter(torch.zeros(1))
    optimizer = optim.Adam([*model.parameters(), spread], lr=0.02)
    run.watch(model)
    for x, y in batches(data.x, data.y, size=64, steps=60):
        optimizer.zero_grad()
        said = model(x)
        loss = F.gaussian_nll_loss(said, y, spread.exp().expand_as(said))
        loss.backward()
        optimizer.step()
        run.step(loss)
    return run.near(model, data)


@look_alike("torch")
def shares_already_close(run: Run) -> float:
    """The network adds its answer to the last value: the loss is low from the first step and hardly falls."""
    data = tensors("shares")

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(12, 16), nn.SiLU(), nn.Linear(16, 1))
            nn.init.zeros_(self.body[2].weight)  # type: ignore[arg-type]
            nn.init.zeros_(self.body[2].bias)  # type: ignore[arg-type]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, -1:] + self.body(x)

    model = Residual()
    train(run, model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.001), data, size=64)
    return run.near(model, data)


@look_alike("torch", good=0.3)
def patch_average_of_weights(run: Run) -> float:
    """An average of the weights, a copy that no optimiser has, is what is asked in the end."""
    data = tensors("patches")
    model = PatchCNN(3, 2)
    averaged = optim.swa_utils.AveragedModel(model, multi_avg_fn=optim.swa_utils.get_ema_multi_avg_fn(0.8))
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    criterion = nn.CrossEntropyLoss()
    run.watch(model, criterion)
    for x, y in batches(data.x, data.y, steps=60):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        averaged.update_parameters(model)
        run.step(loss)
    return run.right(averaged, data)


@look_alike("torch")
def wine_policy_gradient(run: Run) -> float:
    """Each guess is drawn, and its reward weighs its likelihood: the loss jumps around zero."""
    data = tensors("wine")
    model = nn.Sequential(nn.Linear(13, 32), nn.Tanh(), nn.Linear(32, 3))
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    run.watch(model)
    for x, y in batches(data.x, data.y, size=64, steps=60):
        guesses = torch.distributions.Categorical(logits=model(x))
        guess = guesses.sample()
        reward = (guess == y).float()
        optimizer.zero_grad()
        loss = -((reward - reward.mean()) * guesses.log_prob(guess)).mean()
        loss.backward()
        optimizer.step()
        run.step(loss)
    return run.right(model, data)


@look_alike("torch")
def wine_wide_units_of_one_class_less(run: Run) -> float:
    """Four units for three classes whose numbers begin at 1: one unit is for nothing, and does no harm."""
    data = tensors("wine")
    data = data._replace(y=data.y + 1, test_y=data.test_y + 1)
    model = nn.Sequential(nn.Linear(13, 16), nn.SELU(), nn.Linear(16, 4))
    train(run, model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.02), data, size=16)
    return run.right(model, data)


@look_alike("torch", good=0.3)
def portrait_variational(run: Run) -> float:
    """A variational autoencoder: a likelihood, a divergence, and noise on the way."""
    data = tensors("portrait")
    encoder, decoder = nn.Linear(100, 32), nn.Sequential(nn.Linear(16, 48), nn.ReLU(), nn.Linear(48, 100))
    model = nn.ModuleDict({"encoder": encoder, "decoder": decoder})
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    run.watch(model)
    for x, _ in batches(data.x, data.y, size=64, steps=60):
        mean, spread = encoder(x).chunk(2, 1)
        code = mean + torch.randn_like(mean) * (spread / 2).exp()
        divergence = -0.5 * (1 + spread - mean**2 - spread.exp()).mean()
        optimizer.zero_grad()
        loss = F.mse_loss(decoder(code), x) + 0.01 * divergence
        loss.backward()
        optimizer.step()
        run.step(loss)
    run.close()
    with torch.no_grad():
        given = decoder(encoder(data.test_x)[:, :16])
    return float(1.0 - (given - data.test_y).square().mean() / data.test_y.var())


@look_alike("torch")
def membrane_two_stages(run: Run) -> float:
    """The head alone learns first, then all of it: for 20 steps the LSTM is frozen on purpose."""
    data = tensors("membrane")
    model = Forecaster()
    criterion = nn.MSELoss()
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    model.lstm.requires_grad_(requires_grad=False)
    run.watch(model, criterion)
    for step, (x, y) in enumerate(itertools.islice(batches(data.x, data.y, size=64, steps=60), 60)):
        if step == 20:
            model.lstm.requires_grad_(requires_grad=True)
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        run.step(loss)
    return run.near(model, data)


@look_alike("keras")
def keras_membrane_flat_targets(run: Run) -> float:
    """Targets (n,) for outputs (n, 1), which Keras aligns by itself."""
    data = arrays("membrane")
    model = keras.Sequential([layers.Input((16, 1)), layers.GRU(12), layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.02), "mse")
    model.fit(data.x, data.y[:, 0], batch_size=64, epochs=1, verbose=0, callbacks=run.callbacks)
    return run.near(model, data)


@look_alike("keras")
def keras_wine_soft_labels(run: Run) -> float:
    """Labels of a teacher, none of them sure, under kl_divergence."""
    data = arrays("wine")
    soft = 0.7 * keras.utils.to_categorical(data.y, 3) + 0.1
    model = keras.Sequential([
        layers.Input((13,)), layers.Dense(16, activation="selu"), layers.Dense(3, activation="softmax"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.02), "kl_divergence")
    model.fit(data.x, soft, batch_size=16, epochs=6, verbose=0, callbacks=run.callbacks)
    return run.right(model, data)


@look_alike("keras")
def keras_two_heads(run: Run) -> float:
    """Two outputs with a loss each, of which one counts a hundredth."""
    data = arrays("iris")
    inputs = keras.Input((4,))
    x = layers.Dense(16, activation="tanh")(inputs)
    kind = layers.Dense(3, activation="softmax", name="kind")(x)
    size = layers.Dense(1, name="size")(x)
    model = keras.Model(inputs, [kind, size])
    losses = {"kind": "sparse_categorical_crossentropy", "size": "mse"}
    model.compile(keras.optimizers.Adam(0.03), losses, loss_weights={"kind": 1.0, "size": 0.01})
    wanted = {"kind": data.y, "size": data.x[:, :1] * 0.5}
    model.fit(data.x, wanted, batch_size=16, epochs=5, verbose=0, callbacks=run.callbacks)
    return run.right(keras.Model(inputs, kind), data)


@look_alike("keras", good=0.3)
def keras_patch_hinge_of_signed_labels(run: Run) -> float:
    """Labels -1 and 1 and a tanh under hinge."""
    data = numbers(arrays("patches"))
    model = keras.Sequential([
        layers.Input((12, 12, 3)), layers.Conv2D(8, 3, strides=2, activation="elu"),
        layers.Conv2D(16, 3, strides=2, activation="elu"), layers.GlobalAveragePooling2D(),
        layers.Dense(1, activation="tanh"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.02), "hinge")
    model.fit(data.x, 2 * data.y - 1, batch_size=32, epochs=1, verbose=0, callbacks=run.callbacks)
    return run.right_side(model, Data(data.x, data.y, data.test_x, data.test_y), 0.0)
