"""Programs that look odd, and in which nothing is wrong."""

import keras
import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from keras import layers
from torch import nn, optim

from bench.faults.case import look_alike
from bench.faults.run import Data, Run, arrays, batches, numbers, tensors, train
from bench.faults.tuning_torch_learning import cnn, mlp


@look_alike("torch")
def digits_softmax_under_mse(run: Run) -> float:
    """The Brier score: a softmax under MSELoss on one-hot labels."""
    data = tensors("digits")
    model = nn.Sequential(*mlp(64, 32, 10), nn.Softmax(dim=1))
    seen = data._replace(y=F.one_hot(data.y, 10).float())
    train(run, model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.01), seen)
    return run.right(model, data)


@look_alike("torch")
def tumour_sigmoid_under_mse(run: Run) -> float:
    """A sigmoid under MSELoss on labels 0 and 1."""
    data = numbers(tensors("cancer"))
    model = nn.Sequential(*mlp(30, 16, 1), nn.Sigmoid())
    train(run, model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.01), data)
    return run.right_side(model, data, 0.5)


@look_alike("torch")
def digit_pixels_relu_on_output(run: Run) -> float:
    """A ReLU at the end of an autoencoder, for pixels that are never negative."""
    data = tensors("digit_copies")
    last = nn.Linear(32, 64)
    nn.init.constant_(last.bias, 0.3)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), last, nn.ReLU())
    train(run, model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.01), data, size=64, steps=60)
    return run.near(model, data)


@look_alike("torch")
def digit_pixels_under_bce(run: Run) -> float:
    """Binary cross entropy for pixels between 0 and 1; its least value is not zero."""
    data = tensors("digit_copies")
    model = nn.Sequential(*mlp(64, 32, 64), nn.Sigmoid())
    train(run, model, nn.BCELoss(), optim.Adam(model.parameters(), lr=0.02), data, size=64, steps=60)
    return run.near(model, data)


@look_alike("torch")
def digits_log_softmax_under_cross_entropy(run: Run) -> float:
    """A log-softmax before CrossEntropyLoss: doing it twice changes nothing."""
    data = tensors("digits")
    model = nn.Sequential(*mlp(64, 32, 10), nn.LogSoftmax(dim=1))
    train(run, model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.01), data)
    return run.right(model, data)


@look_alike("torch")
def digit_images_pretrained_and_frozen(run: Run) -> float:
    """A trunk that learned odd from even is frozen on purpose, and a new head learns the digits."""
    data = tensors("digit_images")
    model = cnn()
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    for x, y in batches(data.x, data.y, steps=60):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y // 2).backward()
        optimizer.step()
    for parameter in model.parameters():
        parameter.requires_grad = False
    model[-1] = nn.Linear(64, 10)
    train(run, model, nn.CrossEntropyLoss(), optim.Adam(model[-1].parameters(), lr=0.03), data, steps=60)
    return run.right(model, data)


@look_alike("torch")
def digits_fine_tuned_at_a_tiny_rate(run: Run) -> float:
    """It has learned already; a rate of 1e-6 keeps it as it is."""
    data = tensors("digits")
    model = mlp(64, 32, 10)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    for x, y in batches(data.x, data.y, steps=150):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    train(run, model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=1e-6), data)
    return run.right(model, data)


@look_alike("torch")
def digits_label_smoothing(run: Run) -> float:
    """Smoothed labels: the loss cannot fall below 1.4."""
    data = tensors("digits")
    model = mlp(64, 32, 10)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.4)
    train(run, model, criterion, optim.Adam(model.parameters(), lr=0.01), data)
    return run.right(model, data)


@look_alike("torch")
def digits_mixup(run: Run) -> float:
    """Pairs of samples and of their one-hot labels are mixed."""
    data = tensors("digits")
    model = mlp(64, 48, 10)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    criterion = nn.CrossEntropyLoss()
    run.watch(model, criterion)
    for x, y in batches(data.x, data.y):
        other = torch.randperm(len(x))
        share = float(torch.rand(()))
        soft = F.one_hot(y, 10).float()
        optimizer.zero_grad()
        loss = criterion(model(share * x + (1 - share) * x[other]), share * soft + (1 - share) * soft[other])
        loss.backward()
        optimizer.step()
        run.step(loss)
    return run.right(model, data)


@look_alike("torch")
def tumour_few_malignant_but_learned(run: Run) -> float:
    """One in ten is malignant, with a weight for them, and it learns."""
    data = numbers(tensors("cancer"))
    ill = torch.nonzero(data.y[:, 0] == 0).flatten()[:28]
    kept = torch.cat([torch.nonzero(data.y[:, 0] == 1).flatten(), ill])
    model = mlp(30, 16, 1)
    criterion = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(0.1))
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    train(run, model, criterion, optimizer, data._replace(x=data.x[kept], y=data.y[kept]))
    return run.right_side(model, data, 0.0)


@look_alike("torch")
def tumour_constant_and_duplicate_columns(run: Run) -> float:
    """Three columns are constant and five are there twice; it does no harm."""
    data = numbers(tensors("cancer"))
    x, test_x = (torch.cat([part, part[:, :5], torch.ones(len(part), 3)], 1) for part in (data.x, data.test_x))
    data = data._replace(x=x, test_x=test_x)
    model = mlp(38, 16, 1)
    train(run, model, nn.BCEWithLogitsLoss(), optim.Adam(model.parameters(), lr=0.01), data)
    return run.right_side(model, data, 0.0)


@look_alike("torch")
def digit_pixels_tied_weights(run: Run) -> float:
    """An autoencoder whose decoder has the encoder's weights, transposed."""
    data = tensors("digit_copies")

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Linear(64, 32)
            self.bias = nn.Parameter(torch.zeros(64))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.linear(torch.tanh(self.encoder(x)), self.encoder.weight.t(), self.bias)

    model = Tied()
    train(run, model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.01), data, size=64, steps=60)
    return run.near(model, data)


@look_alike("torch", good=0.4)
def code_two_optimisers(run: Run) -> float:
    """SparseAdam for the embedding, Adam for the rest."""
    data = tensors("text_or_code")
    embedding = nn.Embedding(70, 16, sparse=True)
    model = nn.Sequential(embedding, nn.Flatten(), nn.Linear(768, 32), nn.ReLU(), nn.Linear(32, 2))
    sparse = optim.SparseAdam(embedding.parameters(), lr=0.02)
    rest = optim.Adam(model[2:].parameters(), lr=0.01)
    criterion = nn.CrossEntropyLoss()
    run.watch(model, criterion)
    for x, y in batches(data.x, data.y, size=64, steps=60):
        sparse.zero_grad()
        rest.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        sparse.step()
        rest.step()
        run.step(loss)
    return run.right(model, data)


@look_alike("torch")
def digits_gradient_accumulation(run: Run) -> float:
    """Four batches to an update: in three of four recorded passes no weight changes."""
    data = tensors("digits")
    model = mlp(64, 32, 10)
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    criterion = nn.CrossEntropyLoss()
    run.watch(model, criterion)
    for step, (x, y) in enumerate(batches(data.x, data.y, size=16, steps=60), 1):
        loss = criterion(model(x), y) / 4
        loss.backward()
        if step % 4 == 0:
            optimizer.step()
            optimizer.zero_grad()
        run.step(loss)
    return run.right(model, data)


@look_alike("torch")
def digits_confidence_penalty(run: Run) -> float:
    """A penalty on sure answers and on weights is added to the loss."""
    data = tensors("digits")
    model = mlp(64, 32, 10)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    run.watch(model)
    for x, y in batches(data.x, data.y):
        optimizer.zero_grad()
        said = model(x)
        entropy = torch.distributions.Categorical(logits=said).entropy().mean()
        loss = F.cross_entropy(said, y) - 0.1 * entropy + 1e-4 * sum(p.square().sum() for p in model.parameters())
        loss.backward()
        optimizer.step()
        run.step(loss)
    return run.right(model, data)


@look_alike("torch", good=0.2)
def diabetes_one_linear_layer(run: Run) -> float:
    """Linear regression: a single layer without an activation is what was wanted."""
    data = tensors("diabetes")
    model = nn.Linear(10, 1)
    train(run, model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.05), data, steps=60)
    return run.near(model, data)


@look_alike("torch")
def digits_margin_on_embeddings(run: Run) -> float:
    """A triplet loss on embeddings of 8 numbers: positive, negative and anchor pass through one network."""
    data = tensors("digits")
    model = mlp(64, 48, 8)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    criterion = nn.TripletMarginLoss(margin=1.0)
    run.watch(model, criterion)
    for _ in range(50):
        anchor = torch.randint(len(data.x), (64,))
        same, other = (_partner(data, anchor, alike=alike) for alike in (True, False))
        optimizer.zero_grad()
        loss = criterion(model(data.x[anchor]), model(data.x[same]), model(data.x[other]))
        loss.backward()
        optimizer.step()
        run.step(loss)
    codes, test = run.answers(model, data.x), run.answers(model, data.test_x)
    nearest = data.y[torch.cdist(test, codes).argmin(1)]
    return (float((nearest == data.test_y).float().mean()) - 0.1) / 0.9


def _partner(data: Data, anchor: torch.Tensor, *, alike: bool) -> torch.Tensor:
    fits = (data.y[anchor][:, None] == data.y[None]) == alike
    return torch.multinomial(fits.float(), 1).flatten()


@look_alike("keras")
def keras_digits_softmax_under_mse(run: Run) -> float:
    """A softmax under mse on one-hot labels."""
    data = arrays("digits")
    model = keras.Sequential([
        layers.Input((64,)), layers.Dense(32, activation="relu"), layers.Dense(10, activation="softmax"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.01), "mse")
    y = keras.utils.to_categorical(data.y, 10)
    model.fit(data.x, y, batch_size=64, epochs=3, verbose=0, callbacks=run.callbacks)
    return run.right(model, data)


@look_alike("keras")
def keras_digits_frozen_after_pretraining(run: Run) -> float:
    """A base learns, is frozen, and a new head is trained on it."""
    data = arrays("digits")
    base = keras.Sequential([layers.Input((64,)), layers.Dense(32, activation="relu")], name="base")
    first = keras.Sequential([base, layers.Dense(10, activation="softmax")])
    first.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    first.fit(data.x, data.y, batch_size=64, epochs=1, verbose=0)
    base.trainable = False
    model = keras.Sequential([layers.Input((64,)), base, layers.Dense(10, activation="softmax")])
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
    model.fit(data.x, data.y, batch_size=64, epochs=2, verbose=0, callbacks=run.callbacks)
    return run.right(model, data)


@look_alike("keras")
def keras_digit_ink(run: Run) -> float:
    """A regression of how much ink there is, which is never negative, with a softplus at the end, under poisson."""
    data = arrays("digit_copies")
    y, test_y = (part[:, :32].mean(1, keepdims=True) * 10 for part in (data.x, data.test_x))
    model = keras.Sequential([
        layers.Input((64,)), layers.Dense(48, activation="relu"), layers.Dense(1, activation="softplus"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.01), "poisson")
    model.fit(data.x, y, batch_size=64, epochs=2, verbose=0, callbacks=run.callbacks)
    return run.near(model, data._replace(test_y=test_y))


@look_alike("keras")
def keras_digits_sigmoid_for_one_hot(run: Run) -> float:
    """Ten sigmoids under binary_crossentropy, each digit against all others."""
    data = arrays("digits")
    model = keras.Sequential([
        layers.Input((64,)), layers.Dense(32, activation="relu"), layers.Dense(10, activation="sigmoid"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.02), "binary_crossentropy")
    y = keras.utils.to_categorical(data.y, 10)
    model.fit(data.x, y, batch_size=64, epochs=2, verbose=0, callbacks=run.callbacks)
    return run.right(model, data)
