"""PyTorch: the last layer, the loss and the targets do not fit."""

import itertools

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn, optim

from bench.faults.case import fault
from bench.faults.run import Data, Run, batches, numbers, tensors, train


@fault("torch", "softmax_over_one_unit")
def tumour_softmax_over_one_unit(run: Run, faulty: bool) -> float:
    """A binary classifier of one unit ends in a softmax."""
    data = numbers(tensors("cancer"))
    last = nn.Softmax(dim=1) if faulty else nn.Sigmoid()
    model = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1), last)
    train(run, model, nn.BCELoss(), optim.Adam(model.parameters(), lr=0.01), data)
    return run.right_side(model, data, 0.5)


class PieceClassifier(nn.Module):
    """Text or code, by an LSTM over characters."""

    def __init__(self, *, faulty: bool) -> None:
        super().__init__()
        self.faulty = faulty
        self.embedding = nn.Embedding(70, 16)
        self.lstm = nn.LSTM(16, 24, batch_first=True)
        self.head = nn.Linear(24, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden, _ = self.lstm(self.embedding(x))
        score = self.head(hidden.mean(1))
        return torch.softmax(score, dim=-1) if self.faulty else torch.sigmoid(score)


@fault("torch", "softmax_over_one_unit", good=0.4)
def code_softmax_over_one_unit_in_forward(run: Run, faulty: bool) -> float:
    """An LSTM classifier calls softmax over its one unit in its forward."""
    data = numbers(tensors("text_or_code"))
    model = PieceClassifier(faulty=faulty)
    train(run, model, nn.BCELoss(), optim.Adam(model.parameters(), lr=0.02), data, size=64)
    return run.right_side(model, data, 0.5)


@fault("torch", "double_softmax", worse=0.1)
def digits_softmax_before_cross_entropy(run: Run, faulty: bool) -> float:
    """Softmax as the last layer of an MLP, under CrossEntropyLoss, which applies its own."""
    data = tensors("digits")
    layers = [nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)]
    if faulty:
        layers.append(nn.Softmax(dim=1))
    model = nn.Sequential(*layers)
    train(run, model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1, momentum=0.9), data)
    return run.right(model, data)


class SmallCNN(nn.Module):
    """Two convolutions and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        self.fc = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc(x.flatten(1))


class SoftmaxCNN(SmallCNN):
    """The same, that says probabilities."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.softmax(super().forward(x), dim=1)


@fault("torch", "double_softmax", worse=0.1)
def digit_images_softmax_in_forward(run: Run, faulty: bool) -> float:
    """A CNN returns F.softmax, and the loss is CrossEntropyLoss."""
    data = tensors("digit_images")
    model = SoftmaxCNN() if faulty else SmallCNN()
    train(run, model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.01), data)
    return run.right(model, data)


@fault("torch", "double_sigmoid", worse=None)
def tumour_sigmoid_before_bce_with_logits(run: Run, faulty: bool) -> float:
    """A sigmoid, and then BCEWithLogitsLoss; it learns slowly, and says 0.5 for no."""
    data = numbers(tensors("cancer"))
    layers = [nn.Linear(30, 16), nn.Tanh(), nn.Linear(16, 1)]
    model = nn.Sequential(*layers, nn.Sigmoid()) if faulty else nn.Sequential(*layers)
    train(run, model, nn.BCEWithLogitsLoss(), optim.SGD(model.parameters(), lr=0.1), data)
    return run.right_side(model, data, 0.5 if faulty else 0.0)


@fault("torch", "missing_log_softmax")
def digits_nll_of_logits(run: Run, faulty: bool) -> float:
    """NLLLoss is given raw scores, so that the loss falls below zero without end."""
    data = tensors("digits")
    layers: list[nn.Module] = [nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)]
    if not faulty:
        layers.append(nn.LogSoftmax(dim=1))
    model = nn.Sequential(*layers)
    train(run, model, nn.NLLLoss(), optim.Adam(model.parameters(), lr=0.01), data)
    return run.right(model, data)


@fault("torch", "missing_log_softmax", "wrong_output_activation", worse=None)
def digit_rows_nll_of_probabilities(run: Run, faulty: bool) -> float:
    """NLLLoss is given a softmax's probabilities, and not their logarithms, after a GRU."""
    data = tensors("digit_rows")

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = nn.GRU(8, 32, batch_first=True)
            self.out = nn.Linear(32, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            _, hidden = self.gru(x)
            score = self.out(hidden[-1])
            return F.softmax(score, dim=1) if faulty else F.log_softmax(score, dim=1)

    model = Reader()
    train(run, model, nn.NLLLoss(), optim.Adam(model.parameters(), lr=0.01), data)
    return run.right(model, data)


@fault("torch", "logits_into_probability_loss", "missing_log_softmax")
def digits_log_of_raw_scores(run: Run, faulty: bool) -> float:
    """A cross entropy written by hand clamps raw scores into 0..1 and takes their logarithm."""
    data = tensors("digits")

    class CrossEntropy(nn.Module):
        def forward(self, said: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
            said = said.clamp(1e-7, 1.0)
            return -torch.log(said[torch.arange(len(said)), wanted]).mean()

    layers: list[nn.Module] = [nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)]
    if not faulty:
        layers.append(nn.Softmax(dim=1))
    model = nn.Sequential(*layers)
    train(run, model, CrossEntropy(), optim.Adam(model.parameters(), lr=0.01), data)
    return run.right(model, data)


@fault("torch", "wrong_output_activation", "double_softmax", worse=0.05)
def digits_sigmoid_under_cross_entropy(run: Run, faulty: bool) -> float:
    """Ten sigmoids under CrossEntropyLoss: no class can be said with more than a fifth."""
    data = tensors("digits")
    layers: list[nn.Module] = [nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10)]
    if faulty:
        layers.append(nn.Sigmoid())
    model = nn.Sequential(*layers)
    train(run, model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1), data, steps=60)
    return run.right(model, data)


@fault("torch", "relu_on_output", "wrong_output_activation", worse=None)
def digits_relu_on_logits(run: Run, faulty: bool) -> float:
    """A loop that builds layers puts a ReLU after the last one too, under CrossEntropyLoss."""
    data = tensors("digits")
    layers: list[nn.Module] = []
    for wide, narrow in ((64, 32), (32, 24), (24, 10)):
        layers += [nn.Linear(wide, narrow), nn.ReLU()]
    model = nn.Sequential(*(layers if faulty else layers[:-1]))
    train(run, model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.01), data)
    return run.right(model, data)


@fault("torch", "relu_on_output", "bounded_output", good=0.2, worse=0.1)
def diabetes_relu_on_output(run: Run, faulty: bool) -> float:
    """A regression of standardised targets, half of them negative, ends in a ReLU."""
    data = tensors("diabetes")
    layers: list[nn.Module] = [nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1)]
    if faulty:
        layers.append(nn.ReLU())
    model = nn.Sequential(*layers)
    train(run, model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.005), data)
    return run.near(model, data)


@fault("torch", "relu_on_output", "bounded_output")
def seabed_relu_in_forward(run: Run, faulty: bool) -> float:
    """Heights of land and sea, as F.relu of the last layer."""
    data = tensors("seabed")

    class Map(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = nn.Linear(14, 48)
            self.fc2 = nn.Linear(48, 48)
            self.fc3 = nn.Linear(48, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.tanh(self.fc2(torch.tanh(self.fc1(x))))
            return F.relu(self.fc3(x)) if faulty else self.fc3(x)

    model = Map()
    train(run, model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.01), data, size=128, steps=50)
    return run.near(model, data)


@fault("torch", "bounded_output", "target_scale", good=0.2)
def diabetes_sigmoid_for_raw_targets(run: Run, faulty: bool) -> float:
    """Targets from 25 to 346, and a sigmoid at the end."""
    data = tensors("diabetes_raw")
    top = 346.0
    if not faulty:
        data = Data(data.x, data.y / top, data.test_x, data.test_y / top)
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1), nn.Sigmoid())
    train(run, model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.02), data, steps=60)
    return run.near(model, data)


@fault("torch", "bounded_output")
def digit_pixels_tanh_for_wide_targets(run: Run, faulty: bool) -> float:
    """An autoencoder of pixels from 0 to 16 ends in a tanh."""
    made = tensors("digit_copies")
    data = Data(*(part * 16.0 for part in made)) if faulty else made
    model = nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 64), nn.Tanh())
    train(run, model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.01), data, size=64, steps=60)
    return run.near(model, data)


@fault("torch", "targets_outside_loss_range", worse=None)
def tumour_signed_labels_under_bce(run: Run, faulty: bool) -> float:
    """Labels -1 and 1, as for a hinge loss, go into BCEWithLogitsLoss, which then has no lower bound."""
    data = numbers(tensors("cancer"))
    if faulty:
        data = data._replace(y=data.y * 2.0 - 1.0)
    model = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1))
    train(run, model, nn.BCEWithLogitsLoss(), optim.SGD(model.parameters(), lr=0.1), data)
    return run.right_side(model, data, 0.0)


@fault("torch", "targets_outside_loss_range")
def digit_pixels_bce_of_raw_pixels(run: Run, faulty: bool) -> float:
    """An autoencoder under BCEWithLogitsLoss is to give pixels from 0 to 16."""
    made = tensors("digit_copies")
    target = made.y * 16.0 if faulty else made.y
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 64))
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    train(run, model, nn.BCEWithLogitsLoss(), optimizer, made._replace(y=target), size=64, steps=60)
    return run.near(nn.Sequential(model, nn.Sigmoid()), made)


@fault("torch", "broadcast", good=0.2)
def diabetes_flat_targets(run: Run, faulty: bool) -> float:
    """Outputs (n, 1) and targets (n,) under MSELoss: each output is compared with all targets."""
    data = tensors("diabetes")
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))
    seen = data._replace(y=data.y[:, 0]) if faulty else data
    train(run, model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.01), seen)
    return run.near(model, data)


@fault("torch", "broadcast")
def seabed_squeezed_outputs(run: Run, faulty: bool) -> float:
    """The model squeezes its output to (n,), and the targets are (n, 1), under F.smooth_l1_loss."""
    data = tensors("seabed")
    model = nn.Sequential(nn.Linear(14, 48), nn.GELU(), nn.Linear(48, 1))
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    run.watch(model)
    for x, y in batches(data.x, data.y, size=128, steps=50):
        optimizer.zero_grad()
        said = model(x).squeeze(1) if faulty else model(x)
        loss = F.smooth_l1_loss(said, y)
        loss.backward()
        optimizer.step()
        run.step(loss)
    return run.near(model, data)


@fault("torch", "regression_loss_on_labels")
def digits_mse_on_class_numbers(run: Run, faulty: bool) -> float:
    """Ten classes, one unit, MSELoss on the class's number."""
    data = tensors("digits")
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1 if faulty else 10))
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    if faulty:
        train(run, model, nn.MSELoss(), optimizer, data._replace(y=data.y.float()[:, None]))
        return run.right_number(model, data)
    train(run, model, nn.CrossEntropyLoss(), optimizer, data)
    return run.right(model, data)


@fault("torch", "no_nonlinearity", good=0.6, worse=0.1)
def seabed_layers_without_activation(run: Run, faulty: bool) -> float:
    """Four linear layers in a row, for a map that is not linear."""
    data = tensors("seabed")
    # Of a place the two coordinates alone.
    data = data._replace(x=data.x[:, :2], test_x=data.test_x[:, :2])
    sizes = [2, 48, 48, 48]
    layers: list[nn.Module] = []
    for wide, narrow in itertools.pairwise(sizes):
        layers.append(nn.Linear(wide, narrow))
        if not faulty:
            layers.append(nn.ReLU())
    model = nn.Sequential(*layers, nn.Linear(48, 1))
    train(run, model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.01), data, size=256, steps=60)
    return run.near(model, data)
