"""PyTorch: nothing learns, for rates, for parameters that are left out, or for what the loop does."""

import itertools

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn, optim

from bench.faults.case import fault
from bench.faults.run import Run, batches, numbers, tensors, train


def mlp(*sizes: int, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers with activations between them."""
    layers: list[nn.Module] = []
    for wide, narrow in itertools.pairwise(sizes):
        layers += [nn.Linear(wide, narrow), act()]
    return nn.Sequential(*layers[:-1])


def cnn() -> nn.Sequential:
    """Two convolutions and a head, for digits of 8 by 8."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


@fault("torch", "rate_too_small")
def digits_sgd_rate_too_small(run: Run, faulty: bool) -> float:
    """SGD with a learning rate of 1e-5, as one would take for fine-tuning."""
    data = tensors("digits")
    model = mlp(64, 32, 10)
    train(run, model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=1e-5 if faulty else 0.1), data)
    return run.right(model, data)


@fault("torch", "rate_too_small")
def digit_images_adam_rate_too_small(run: Run, faulty: bool) -> float:
    """Adam at 1e-7 from scratch."""
    data = tensors("digit_images")
    model = cnn()
    train(run, model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=1e-7 if faulty else 0.01), data)
    return run.right(model, data)


@fault("torch", "rate_too_small", good=0.4)
def code_gru_rate_too_small(run: Run, faulty: bool) -> float:
    """A GRU over characters, with AdamW at 1e-6."""
    data = tensors("text_or_code")

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(70, 16)
            self.gru = nn.GRU(16, 24, batch_first=True)
            self.out = nn.Linear(24, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            states, _ = self.gru(self.embed(x))
            return self.out(states.mean(1))

    model = Classifier()
    optimizer = optim.AdamW(model.parameters(), lr=1e-6 if faulty else 0.02)
    train(run, model, nn.CrossEntropyLoss(), optimizer, data, size=64)
    return run.right(model, data)


@fault("torch", "rate_too_large")
def digits_sgd_rate_too_large(run: Run, faulty: bool) -> float:
    """SGD at 20."""
    data = tensors("digits")
    model = mlp(64, 32, 10)
    train(run, model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=20.0 if faulty else 0.1), data)
    return run.right(model, data)


@fault("torch", "rate_too_large")
def digit_images_adam_rate_too_large(run: Run, faulty: bool) -> float:
    """Adam at 1.0 on a CNN."""
    data = tensors("digit_images")
    model = cnn()
    train(run, model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=1.0 if faulty else 0.01), data)
    return run.right(model, data)


@fault("torch", "rate_too_large", good=0.2)
def diabetes_sgd_diverges(run: Run, faulty: bool) -> float:
    """A regression under SGD at 0.9 with momentum diverges."""
    data = tensors("diabetes")
    model = mlp(10, 32, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.9 if faulty else 0.02, momentum=0.9)
    train(run, model, nn.MSELoss(), optimizer, data)
    return run.near(model, data)


@fault("torch", "rate_zero", "rate_too_small")
def digits_warmup_from_zero_never_stepped(run: Run, faulty: bool) -> float:
    """A warm-up starts at a rate of zero, and the scheduler's step is forgotten."""
    data = tensors("digits")
    model = mlp(64, 32, 10)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    scheduler = optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(step / 5, 1.0))
    criterion = nn.CrossEntropyLoss()
    run.watch(model, criterion)
    for x, y in batches(data.x, data.y):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        if not faulty:
            scheduler.step()
        run.step(loss)
    return run.right(model, data)


@fault("torch", "rate_zero", "rate_too_small", since=8)
def digits_schedule_by_step_not_epoch(run: Run, faulty: bool) -> float:
    """ExponentialLR, made for epochs, is stepped after each batch: the rate is gone in a few steps."""
    data = tensors("digits")
    model = mlp(64, 32, 10)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    scheduler = optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.1)
    criterion = nn.CrossEntropyLoss()
    run.watch(model, criterion)
    for step, (x, y) in enumerate(batches(data.x, data.y, steps=63), 1):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        if faulty or step % 42 == 0:
            scheduler.step()
        run.step(loss)
    return run.right(model, data)


class Blocks(nn.Module):
    """Hidden layers in a list, and a head."""

    def __init__(self, *, faulty: bool) -> None:
        super().__init__()
        layers = [nn.Linear(64, 12), nn.Linear(12, 12), nn.Linear(12, 12)]
        self.blocks = layers if faulty else nn.ModuleList(layers)
        self.head = nn.Linear(12, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = torch.relu(block(x))
        return self.head(x)


@fault("torch", "missing_from_optimiser")
def digits_layers_in_a_list(run: Run, faulty: bool) -> float:
    """Hidden layers are in a Python list, not a ModuleList: the optimiser never sees them."""
    data = tensors("digits")
    model = Blocks(faulty=faulty)
    train(run, model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.01), data, steps=60)
    return run.right(model, data)


@fault("torch", "missing_from_optimiser")
def digits_head_replaced_after_optimiser(run: Run, faulty: bool) -> float:
    """The head is replaced after the optimiser was made, which goes on with the old one."""
    data = tensors("digits")
    model = mlp(64, 32, 10)
    model[0].requires_grad_(requires_grad=False)  # the trunk is kept as it is
    optimizer = optim.Adam(model[-1].parameters(), lr=0.03)
    model[-1] = nn.Linear(32, 10)
    if not faulty:
        optimizer = optim.Adam(model[-1].parameters(), lr=0.03)
    train(run, model, nn.CrossEntropyLoss(), optimizer, data, steps=60)
    return run.right(model, data)


@fault("torch", "missing_from_optimiser")
def tumour_optimiser_of_another_model(run: Run, faulty: bool) -> float:
    """The model is made anew, and the optimiser has the parameters of the one before."""
    data = numbers(tensors("cancer"))
    model = mlp(30, 16, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.3)
    model = mlp(30, 16, 1)
    if not faulty:
        optimizer = optim.SGD(model.parameters(), lr=0.3)
    train(run, model, nn.BCEWithLogitsLoss(), optimizer, data)
    return run.right_side(model, data, 0.0)


@fault("torch", "frozen")
def digits_all_but_the_first_layer_frozen(run: Run, faulty: bool) -> float:
    """After copying a recipe for fine-tuning all parameters are frozen but the first layer's bias."""
    data = tensors("digits")
    model = mlp(64, 32, 32, 10)
    if faulty:
        for name, parameter in model.named_parameters():
            parameter.requires_grad = name == "0.bias"
    wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
    train(run, model, nn.CrossEntropyLoss(), optim.SGD(wanted, lr=0.3), data)
    return run.right(model, data)


@fault("torch", "detached")
def digit_images_features_detached(run: Run, faulty: bool) -> float:
    """The features are detached before a narrow head, so that the convolutions never learn."""
    data = tensors("digit_images")

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(1, 4, 3, stride=2)
            self.conv2 = nn.Conv2d(4, 8, 3, stride=2)
            self.fc = nn.Linear(8, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = F.relu(self.conv2(F.relu(self.conv1(x)))).flatten(1)
            return self.fc(x.detach() if faulty else x)

    model = Net()
    train(run, model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.02), data, steps=60)
    return run.right(model, data)


@fault("torch", "detached", "no_backward", good=0.2)
def diabetes_loss_made_a_new_leaf(run: Run, faulty: bool) -> float:
    """The error for `.requires_grad` is silenced by torch.tensor(..., requires_grad=True) around the loss."""
    data = tensors("diabetes")
    model = mlp(10, 32, 1)
    criterion = nn.MSELoss()
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    run.watch(model, criterion)
    for x, y in batches(data.x, data.y):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        if faulty:
            loss = torch.tensor(loss.item(), requires_grad=True)
        loss.backward()
        optimizer.step()
        run.step(loss)
    return run.near(model, data)


@fault("torch", "no_zero_grad")
def digits_without_zero_grad(run: Run, faulty: bool) -> float:
    """optimizer.zero_grad() is forgotten; with momentum the steps grow without end."""
    data = tensors("digits")
    model = mlp(64, 32, 10)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    run.watch(model, criterion)
    for x, y in batches(data.x, data.y, steps=60):
        if not faulty:
            optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        run.step(loss)
    return run.right(model, data)


@fault("torch", "gradients_cleared")
def digits_cleared_before_the_step(run: Run, faulty: bool) -> float:
    """zero_grad stands between backward and step."""
    data = tensors("digits")
    model = mlp(64, 32, 10)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    criterion = nn.CrossEntropyLoss()
    run.watch(model, criterion)
    for x, y in batches(data.x, data.y):
        if not faulty:
            optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        if faulty:
            optimizer.zero_grad(set_to_none=False)
        optimizer.step()
        run.step(loss)
    return run.right(model, data)


@fault("torch", "no_step")
def tumour_without_step(run: Run, faulty: bool) -> float:
    """optimizer.step() is forgotten."""
    data = numbers(tensors("cancer"))
    model = mlp(30, 16, 1)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    criterion = nn.BCEWithLogitsLoss()
    run.watch(model, criterion)
    for x, y in batches(data.x, data.y):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        if not faulty:
            optimizer.step()
        run.step(loss)
    return run.right_side(model, data, 0.0)


@fault("torch", "no_backward")
def digit_images_without_backward(run: Run, faulty: bool) -> float:
    """loss.backward() is forgotten."""
    data = tensors("digit_images")
    model = cnn()
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    criterion = nn.CrossEntropyLoss()
    run.watch(model, criterion)
    for x, y in batches(data.x, data.y):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        if not faulty:
            loss.backward()
        optimizer.step()
        run.step(loss)
    return run.right(model, data)


@fault("torch", "dropout")
def digits_dropout_keeps_too_little(run: Run, faulty: bool) -> float:
    """Dropout(0.98), by one who took p for the share that is kept."""
    data = tensors("digits")
    p = 0.98 if faulty else 0.02
    model = nn.Sequential(
        nn.Linear(64, 32), nn.ReLU(), nn.Dropout(p), nn.Linear(32, 32), nn.ReLU(), nn.Dropout(p), nn.Linear(32, 10)
    )
    train(run, model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.2), data)
    return run.right(model, data)


@fault("torch", "weight_decay")
def digits_weight_decay_too_strong(run: Run, faulty: bool) -> float:
    """AdamW with a weight decay of 50 in place of 0.05."""
    data = tensors("digits")
    model = mlp(64, 32, 10)
    optimizer = optim.AdamW(model.parameters(), lr=0.01, weight_decay=50.0 if faulty else 0.05)
    train(run, model, nn.CrossEntropyLoss(), optimizer, data)
    return run.right(model, data)


@fault("torch", "weight_decay")
def seabed_penalty_too_strong(run: Run, faulty: bool) -> float:
    """An L2 penalty is added to the loss, a thousand times too strong."""
    data = tensors("seabed")
    model = mlp(14, 48, 1, act=nn.Tanh)
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    criterion = nn.MSELoss()
    run.watch(model, criterion)
    for x, y in batches(data.x, data.y, size=128, steps=50):
        optimizer.zero_grad()
        penalty = sum(parameter.square().sum() for parameter in model.parameters())
        loss = criterion(model(x), y) + (1.0 if faulty else 1e-5) * penalty
        loss.backward()
        optimizer.step()
        run.step(loss)
    return run.near(model, data)


@fault("torch", "loss_scaled", "rate_too_small")
def digits_loss_divided_twice(run: Run, faulty: bool) -> float:
    """The mean loss is divided by the size of the batch and of the data set, and SGD's steps are nothing."""
    data = tensors("digits")
    model = mlp(64, 32, 10)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    criterion = nn.CrossEntropyLoss()
    run.watch(model, criterion)
    for x, y in batches(data.x, data.y):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        if faulty:
            loss = loss / len(x) / len(data.x)
        loss.backward()
        optimizer.step()
        run.step(loss)
    return run.right(model, data)
