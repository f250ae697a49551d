"""PyTorch, opened: initialisation and depth; inputs and targets. Held out until 2026-11-30, tuned on since."""

import torch
from torch import nn, optim

from bench.faults.case import fault
from bench.faults.opened_nets import Forecaster, PatchCNN, Transformer, gain
from bench.faults.run import Run, batches, numbers, tensors, train


@fault("torch", "zero_initialisation", good=0.3)
def patch_convolutions_zero(run: Run, faulty: bool) -> float:
    """A pass over all modules sets convolutions and linear layers to zero."""
    data = tensors("patches")
    model = PatchCNN(3, 2)
    if faulty:
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.weight)
                nn.init.zeros_(module.bias)
    train(run, model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.02), data, steps=60)
    return run.right(model, data)


@fault("torch", "initialisation_too_large", conditions="outlier_channels")
def membrane_lstm_weights_too_large(run: Run, faulty: bool) -> float:
    """All weights of an LSTM are multiplied by 30, so that its gates are open or shut for good."""
    data = tensors("membrane")
    model = Forecaster()
    if faulty:
        gain(model, 30.0)
    train(run, model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.1), data, steps=60)
    return run.near(model, data)


@fault("torch", "initialisation_too_small", "vanishing_depth")
def fault_line_weights_too_small(run: Run, faulty: bool) -> float:
    """Six layers whose weights have a deviation of 0.001: nothing of the input arrives."""
    data = tensors("fault_line")
    layers: list[nn.Module] = []
    for wide in (14, 32, 32, 32, 32):
        layer = nn.Linear(wide, 32)
        if faulty:
            nn.init.normal_(layer.weight, std=0.001)
        layers += [layer, nn.Mish()]
    model = nn.Sequential(*layers, nn.Linear(32, 1))
    train(run, model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.1, momentum=0.9), data, size=256, steps=60)
    return run.near(model, data)


@fault("torch", "exploding_depth", "initialisation_too_large", conditions="outlier_channels", good=0.3)
def portrait_deep_without_norm(run: Run, faulty: bool) -> float:
    """Fifteen layers with orthogonal weights of gain 3, and no norm."""
    data = tensors("portrait")
    layers: list[nn.Module] = [nn.Linear(100, 48), nn.ELU()]
    for _ in range(15 if faulty else 1):
        layer = nn.Linear(48, 48)
        nn.init.orthogonal_(layer.weight, gain=3.0 if faulty else 1.0)
        layers += [layer, nn.ELU()]
    model = nn.Sequential(*layers, nn.Linear(48, 100))
    train(run, model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.005), data, size=64, steps=60)
    return run.near(model, data)


@fault("torch", "exploding_depth", "initialisation_too_large", conditions="outlier_channels")
def membrane_recurrence_explodes(run: Run, faulty: bool) -> float:
    """A recurrent network of ReLU whose recurrent weights have a gain of 3."""
    data = tensors("membrane")

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.RNN(1, 16, nonlinearity="relu", batch_first=True)
            nn.init.orthogonal_(self.rnn.get_parameter("weight_hh_l0"), gain=3.0 if faulty else 0.9)
            self.out = nn.Linear(16, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            states, _ = self.rnn(x)
            return self.out(states[:, -1])

    model = Recurrent()
    train(run, model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.01), data, steps=60)
    return run.near(model, data)


@fault("torch", "vanishing_depth", good=0.3)
def patch_sigmoid_convolutions(run: Run, faulty: bool) -> float:
    """Six convolutions, each with a sigmoid."""
    data = tensors("patches")
    layers: list[nn.Module] = [nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Sigmoid() if faulty else nn.SiLU()]
    for _ in range(6 if faulty else 1):
        layers += [nn.Conv2d(8, 8, 3, padding=1), nn.Sigmoid() if faulty else nn.SiLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    train(run, model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.02), data, steps=60)
    return run.right(model, data)


@fault("torch", "dead_units", good=0.3)
def patch_dead_after_a_shift(run: Run, faulty: bool) -> float:
    """A mean is taken off each channel of the activations with the wrong sign and scale: no ReLU fires."""
    data = tensors("patches")

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(3, 8, 3, stride=2, padding=1)
            self.act1 = nn.ReLU()
            self.conv2 = nn.Conv2d(8, 16, 3, stride=2, padding=1)
            self.act2 = nn.ReLU()
            self.head = nn.Linear(16, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.act1(self.conv1(x))
            x = self.act2(self.conv2(x) - (20.0 if faulty else 0.0))
            return self.head(x.mean((2, 3)))

    model = Net()
    train(run, model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.02), data, steps=60)
    return run.right(model, data)


@fault("torch", "unscaled_inputs", good=0.3)
def patch_bytes_into_cnn(run: Run, faulty: bool) -> float:
    """Patches from 0 to 255 into a CNN with tanh."""
    data = tensors("patches")
    if faulty:
        data = data._replace(x=60.0 * data.x + 128.0, test_x=60.0 * data.test_x + 128.0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.Tanh(), nn.Conv2d(8, 16, 3, stride=2), nn.Tanh(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2),
    )  # fmt: skip
    train(run, model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1, momentum=0.9), data, steps=60)
    return run.right(model, data)


@fault("torch", "missing_values")
def shares_with_missing_months(run: Run, faulty: bool) -> float:
    """A few months are NaN, as pandas leaves them."""
    data = tensors("shares")
    x = data.x.clone()
    x[torch.rand(x.shape) < 0.01] = torch.nan if faulty else 0.0
    model = nn.Sequential(nn.Linear(12, 32), nn.LeakyReLU(), nn.Linear(32, 1))
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    train(run, model, nn.MSELoss(), optimizer, data._replace(x=x), size=64, steps=60)
    return run.near(model, data)


@fault("torch", "missing_codes", "unscaled_inputs", "unequal_features")
def wine_missing_as_9999(run: Run, faulty: bool) -> float:
    """A sixth of all numbers is missing and coded as 9999."""
    data = tensors("wine")
    x, test_x = data.x.clone(), data.test_x.clone()
    for part in (x, test_x):
        part[torch.rand(part.shape) < 0.15] = 9999.0 if faulty else 0.0
    data = data._replace(x=x, test_x=test_x)
    model = nn.Sequential(nn.Linear(13, 16), nn.SELU(), nn.Linear(16, 3))
    train(run, model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.02), data, size=16, steps=50)
    return run.right(model, data)


@fault("torch", "empty_inputs", "same_batch", good=0.25)
def module_all_words_unknown(run: Run, faulty: bool) -> float:
    """A vocabulary in capitals knows none of the signs: each token is that of the unknown."""
    data = tensors("which_module")
    if faulty:
        data = data._replace(x=torch.zeros_like(data.x), test_x=torch.zeros_like(data.test_x))
    model = Transformer(3)
    train(run, model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.005), data, steps=60)
    return run.right(model, data)


@fault("torch", "same_batch", good=0.25)
def module_first_batch_for_ever(run: Run, faulty: bool) -> float:
    """next(iter(loader)) in the loop gives the first batch, again and again."""
    data = tensors("which_module")
    model = Transformer(3)
    optimizer = optim.Adam(model.parameters(), lr=0.005)
    criterion = nn.CrossEntropyLoss()
    loader = list(batches(data.x, data.y, size=32, steps=60))
    run.watch(model, criterion)
    for step in range(60):
        x, y = next(iter(loader)) if faulty else loader[step]
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        run.step(loss)
    return run.right(model, data)


@fault("torch", "constant_labels")
def iris_labels_compared_with_a_name(run: Run, faulty: bool) -> float:
    """Labels are compared with what they never are, so that all of them are 0."""
    data = tensors("iris")
    seen = data._replace(y=(data.y == 7).long()) if faulty else data
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
    train(run, model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.03), seen, size=16)
    return run.right(model, data)


@fault("torch", "unbalanced_labels", good=0.3)
def patch_one_in_a_hundred(run: Run, faulty: bool) -> float:
    """One patch in a hundred is of the second photograph."""
    data = numbers(tensors("patches"))
    seen = data
    if faulty:
        rare = torch.nonzero(data.y[:, 0] == 1).flatten()[:8]
        kept = torch.cat([torch.nonzero(data.y[:, 0] == 0).flatten(), rare])
        seen = data._replace(x=data.x[kept], y=data.y[kept])
    model = PatchCNN(3, 1)
    train(run, model, nn.BCEWithLogitsLoss(), optim.Adam(model.parameters(), lr=0.01), seen, steps=60)
    return run.right_side(model, data, 0.0)


@fault("torch", "shuffled_labels")
def membrane_targets_of_other_windows(run: Run, faulty: bool) -> float:
    """Windows and next values were drawn by two shuffles."""
    data = tensors("membrane")
    seen = data._replace(y=data.y[torch.randperm(len(data.y))]) if faulty else data
    model = Forecaster()
    train(run, model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.02), seen, size=64, steps=60)
    return run.near(model, data)


@fault("torch", "target_scale", "rate_too_small")
def fault_line_in_metres(run: Run, faulty: bool) -> float:
    """Heights from 236 to 1,076 metres under L1Loss and Adam."""
    data = tensors("fault_line_raw" if faulty else "fault_line")
    model = nn.Sequential(nn.Linear(14, 64), nn.Mish(), nn.Linear(64, 1))
    train(run, model, nn.L1Loss(), optim.Adam(model.parameters(), lr=0.02), data, size=256, steps=60)
    return run.near(model, data)


@fault("torch", "target_scale", "rate_too_large")
def shares_in_dollars(run: Run, faulty: bool) -> float:
    """Prices up to hundreds of dollars under MSELoss and SGD with momentum."""
    data = tensors("shares_dollars" if faulty else "shares")
    model = nn.Sequential(nn.Linear(12, 32), nn.LeakyReLU(), nn.Linear(32, 32), nn.LeakyReLU(), nn.Linear(32, 1))
    train(run, model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.05, momentum=0.9), data, size=64, steps=60)
    return run.near(model, data)
