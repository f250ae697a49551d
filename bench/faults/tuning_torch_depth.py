"""PyTorch: initialisation, depth and dead units; and inputs and targets."""

import torch
from torch import nn, optim

from bench.faults.case import fault
from bench.faults.run import Data, Run, batches, numbers, tensors, train
from bench.faults.tuning_torch_learning import cnn, mlp


@fault("torch", "zero_initialisation")
def digits_all_weights_zero(run: Run, faulty: bool) -> float:
    """All weights begin at zero: only the last bias ever moves."""
    data = tensors("digits")
    model = mlp(64, 32, 10)
    if faulty:
        for parameter in model.parameters():
            nn.init.zeros_(parameter)
    train(run, model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1), data)
    return run.right(model, data)


@fault("torch", "zero_initialisation")
def digits_all_weights_alike(run: Run, faulty: bool) -> float:
    """nn.init.constant_ makes all units of a layer the same, and they stay so."""
    data = tensors("digits")
    model = mlp(64, 32, 10, act=nn.Tanh)
    if faulty:
        for layer in model:
            if isinstance(layer, nn.Linear):
                nn.init.constant_(layer.weight, 0.05)
    train(run, model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.01), data)
    return run.right(model, data)


@fault("torch", "initialisation_too_large")
def digits_normal_initialisation(run: Run, faulty: bool) -> float:
    """Weights from a normal distribution of deviation 3 saturate each tanh."""
    data = tensors("digits")
    model = mlp(64, 64, 32, 10, act=nn.Tanh)
    if faulty:
        for layer in model:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=3.0)
    train(run, model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1), data)
    return run.right(model, data)


@fault("torch", "dead_units")
def digits_bias_far_below_zero(run: Run, faulty: bool) -> float:
    """A bias of -10 kills each ReLU of the second layer."""
    data = tensors("digits")
    second = nn.Linear(32, 32)
    if faulty:
        nn.init.constant_(second.bias, -10.0)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), second, nn.ReLU(), nn.Linear(32, 10))
    train(run, model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.3), data)
    return run.right(model, data)


@fault("torch", "vanishing_depth")
def digits_ten_sigmoid_layers(run: Run, faulty: bool) -> float:
    """Ten sigmoid layers: the loss stays at the logarithm of ten."""
    data = tensors("digits")
    sizes = [64] + [32] * 10 + [10] if faulty else [64, 32, 10]
    model = mlp(*sizes, act=nn.Sigmoid)
    train(run, model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=1.0), data, steps=60)
    return run.right(model, data)


@fault("torch", "vanishing_depth")
def seabed_twenty_narrow_layers(run: Run, faulty: bool) -> float:
    """Twenty plain layers of tanh for a regression, without a norm or a shortcut."""
    data = tensors("seabed")
    sizes = [14] + [24] * 20 + [1] if faulty else [14, 24, 24, 1]
    model = mlp(*sizes, act=nn.Tanh)
    train(run, model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.1, momentum=0.9), data, size=128, steps=50)
    return run.near(model, data)


@fault("torch", "unscaled_inputs")
def digits_pixels_to_255(run: Run, faulty: bool) -> float:
    """Pixels from 0 to 255 go in as they are."""
    data = tensors("digits_raw")
    scale = 255.0 / 16.0 if faulty else 1.0 / 16.0
    data = data._replace(x=data.x * scale, test_x=data.test_x * scale)
    model = mlp(64, 32, 10)
    train(run, model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.3), data, steps=60)
    return run.right(model, data)


@fault("torch", "unscaled_inputs")
def digits_bytes_into_tanh(run: Run, faulty: bool) -> float:
    """Bytes up to 255 saturate a tanh at once."""
    data = tensors("digits_raw")
    scale = 255.0 / 16.0 if faulty else 1.0 / 16.0
    data = data._replace(x=data.x * scale, test_x=data.test_x * scale)
    model = mlp(64, 24, 24, 10, act=nn.Tanh)
    train(run, model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.3), data, steps=60)
    return run.right(model, data)


@fault("torch", "unequal_features", "unscaled_inputs")
def tumour_raw_features(run: Run, faulty: bool) -> float:
    """Features from thousandths to thousands, without a StandardScaler."""
    data = numbers(tensors("cancer_raw" if faulty else "cancer"))
    model = mlp(30, 16, 1)
    train(run, model, nn.BCEWithLogitsLoss(), optim.SGD(model.parameters(), lr=0.1), data)
    return run.right_side(model, data, 0.0)


@fault("torch", "unequal_features", "unscaled_inputs", good=0.2)
def diabetes_one_feature_in_other_units(run: Run, faulty: bool) -> float:
    """One of ten features is in units a hundred thousand times smaller than the others'."""
    data = tensors("diabetes")
    if faulty:
        factor = torch.ones(10)
        factor[2] = 1e5
        data = data._replace(x=data.x * factor, test_x=data.test_x * factor)
    model = mlp(10, 32, 1)
    train(run, model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.01), data)
    return run.near(model, data)


@fault("torch", "missing_codes", "unscaled_inputs", "unequal_features")
def tumour_missing_as_minus_999(run: Run, faulty: bool) -> float:
    """A fifth of three columns is missing and coded as -999."""
    data = numbers(tensors("cancer"))
    x, test_x = data.x.clone(), data.test_x.clone()
    for part in (x, test_x):
        missing = torch.rand(part[:, 3:6].shape) < 0.2
        part[:, 3:6][missing] = -999.0 if faulty else 0.0
    model = mlp(30, 16, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    train(run, model, nn.BCEWithLogitsLoss(), optimizer, data._replace(x=x))
    return run.right_side(model, data._replace(test_x=test_x), 0.0)


@fault("torch", "empty_inputs")
def digit_images_divided_as_integers(run: Run, faulty: bool) -> float:
    """Pixels of 0 to 16 are divided by 255 as integers: all inputs are zero."""
    raw = tensors("digits_raw")
    images = [part.reshape(-1, 1, 8, 8) for part in (raw.x, raw.test_x)]
    x, test_x = ((part // 255 if faulty else part / 16.0) for part in images)
    data = Data(x, raw.y, test_x, raw.test_y)
    model = cnn()
    train(run, model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.02), data)
    return run.right(model, data)


@fault("torch", "constant_labels")
def digits_one_class_at_a_time(run: Run, faulty: bool) -> float:
    """The data are sorted and only their head is read: each label is the same."""
    data = tensors("digits")
    seen = data
    if faulty:
        order = data.y.argsort()[:120]
        seen = data._replace(x=data.x[order], y=data.y[order])
    model = mlp(64, 32, 10)
    train(run, model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.01), seen)
    return run.right(model, data)


@fault("torch", "unbalanced_labels", conditions="not_learning")
def tumour_hardly_any_malignant(run: Run, faulty: bool) -> float:
    """Two malignant cases among 270: saying benign is right nearly always."""
    data = numbers(tensors("cancer"))
    seen = data
    if faulty:
        ill = torch.nonzero(data.y[:, 0] == 0).flatten()[:2]
        kept = torch.cat([torch.nonzero(data.y[:, 0] == 1).flatten(), ill])
        seen = data._replace(x=data.x[kept], y=data.y[kept])
    model = mlp(30, 16, 1)
    train(run, model, nn.BCEWithLogitsLoss(), optim.Adam(model.parameters(), lr=0.003), seen)
    return run.right_side(model, data, 0.0)


@fault("torch", "shuffled_labels")
def digits_labels_shuffled(run: Run, faulty: bool) -> float:
    """The inputs are shuffled by themselves, before the labels are joined to them."""
    data = tensors("digits")
    seen = data._replace(x=data.x[torch.randperm(len(data.x))]) if faulty else data
    model = mlp(64, 32, 10)
    train(run, model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.01), seen, steps=60)
    return run.right(model, data)


@fault("torch", "target_scale", "rate_too_small", good=0.2)
def diabetes_targets_in_hundreds(run: Run, faulty: bool) -> float:
    """Targets around 150 are approached by Adam at a usual rate, for ever."""
    data = tensors("diabetes_raw" if faulty else "diabetes")
    model = mlp(10, 32, 1)
    train(run, model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.005), data)
    return run.near(model, data)


@fault("torch", "target_scale", "rate_too_large")
def seabed_in_metres(run: Run, faulty: bool) -> float:
    """Heights from -1,437 to 2,205 metres under MSELoss and SGD: the loss explodes."""
    data = tensors("seabed_raw" if faulty else "seabed")
    model = mlp(14, 48, 48, 1)
    run.watch(model, criterion := nn.MSELoss())
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    for x, y in batches(data.x, data.y, size=128, steps=50):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        run.step(loss)
    return run.near(model, data)
