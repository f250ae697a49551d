"""PyTorch, opened (held out until 2026-12-01): how weights begin, depth, inputs, and targets."""

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn, optim

from bench.faults.case import fault
from bench.faults.data import as_column
from bench.faults.opened_5_data import ferries, hives, kites, knots, loaves, locks, quilts, roads, towns, trams
from bench.faults.opened_5_torch_outputs import Reader, Squares, layered
from bench.faults.run import Run, batches, train


@fault("torch", "zero_initialisation", worse=0.3)
def trams_parameters_made_of_zeros(run: Run, faulty: bool) -> float:
    """Layers of one's own, nn.Parameter(torch.zeros(...)), with ReLU between them."""

    # Forums on layers by hand: a loss that is the same for ever, gradients of zero.
    class Own(nn.Module):
        def __init__(self, before: int, after: int) -> None:
            super().__init__()
            first = torch.zeros(before, after) if faulty else torch.randn(before, after) / before**0.5
            self.weight, self.bias = nn.Parameter(first), nn.Parameter(torch.zeros(after))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.weight + self.bias

    data, net = trams(), nn.Sequential(nn.Flatten(), Own(60, 40), nn.ReLU(), Own(40, 5))
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), 0.005), data, steps=100)
    return run.right(net, data)


@fault("torch", "zero_initialisation", worse=0.2)
def hives_all_weights_a_tenth(run: Run, faulty: bool) -> float:
    """nn.init.constant_(weight, 0.1) by net.apply: hidden units stay copies of each other."""

    # Pages on initialisation: why symmetry has to be broken.
    def start(layer: nn.Module) -> None:
        if isinstance(layer, nn.Linear) and faulty:
            nn.init.constant_(layer.weight, 0.1)
            nn.init.zeros_(layer.bias)

    data, net = hives(), layered(7, 48, 32, 4, act=nn.Tanh).apply(start)
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), 0.01), data, steps=120)
    return run.right(net, data)


@fault("torch", "initialisation_too_large", worse=0.15)
def quilts_normal_of_one(run: Run, faulty: bool) -> float:
    """nn.init.normal_(weight, 0, 2) in all layers of a CNN: a loss of thousands in the first batch."""
    # Forums: a first loss that should be about the logarithm of the number of classes.
    data, net = quilts(), Squares()
    if faulty:
        for layer in (net.conv1, net.conv2, net.head):
            nn.init.normal_(layer.weight, 0.0, 2.0)
    train(run, net, nn.CrossEntropyLoss(), optim.SGD(net.parameters(), 0.03, momentum=0.5), data, steps=120)
    return run.right(net, data)


@fault("torch", "initialisation_too_small", "vanishing_depth", worse=0.3)
def loaves_normal_of_a_thousandth(run: Run, faulty: bool) -> float:
    """nn.init.normal_(weight, std=0.001) in five layers by tanh: they say what the last bias says."""
    # Stack Overflow: a deep network that gives the mean for each sample.
    data, net = loaves(), layered(6, 32, 32, 32, 32, 1, act=nn.Tanh)
    if faulty:
        for value in net.parameters():
            nn.init.normal_(value, 0.0, 0.001)
    train(run, net, nn.MSELoss(), optim.SGD(net.parameters(), 0.1, momentum=0.9), data, steps=160)
    return run.near(net, data)


@fault("torch", "dead_units", worse=0.2)
def hives_uniform_below_zero(run: Run, faulty: bool) -> float:
    """Biases from U(-30, -20) where U(-0.3, -0.2) was meant, in front of ReLU."""
    # Pages on dying ReLU, and how to see it: a layer of nothing but zeros.
    data, net = hives(), layered(7, 48, 32, 4)
    if faulty:
        first = net[0]
        assert isinstance(first, nn.Linear)
        nn.init.uniform_(first.bias, -30.0, -20.0)
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), 0.01), data, steps=120)
    return run.right(net, data)


@fault("torch", "vanishing_depth", worse=0.3)
def loaves_ten_sigmoid_layers(run: Run, faulty: bool) -> float:
    """Ten layers by sigmoid, where two were enough."""
    # Stack Overflow: more layers, and one answer for all.
    data = loaves()
    sizes = (6, *(32,) * 10, 1) if faulty else (6, 48, 24, 1)
    net = layered(*sizes, act=nn.Sigmoid if faulty else nn.ReLU)
    train(run, net, nn.MSELoss(), optim.Adam(net.parameters(), 0.01), data, steps=130)
    return run.near(net, data)


@fault("torch", "oversmoothing", "vanishing_depth", conditions="collapsed", worse=0.2)
def towns_twenty_rounds_of_means(run: Run, faulty: bool) -> float:
    """Twenty rounds of averaging over roads, each by tanh: all towns become one."""

    # Issues on deep graph networks: oversmoothing.
    class Rounds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.join, self.into = roads(), nn.Linear(5, 16)
            self.rounds = nn.ModuleList(nn.Linear(16, 16) for _ in range(20 if faulty else 1))
            self.head = nn.Linear(16, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = torch.tanh(self.into(x))
            for layer in self.rounds:
                h = torch.tanh(layer(self.join @ h))
            return self.head(h)

    data, net = towns(), Rounds()
    opt = optim.Adam(net.parameters(), 0.01)
    criterion = nn.CrossEntropyLoss()
    run.watch(net, criterion)
    for _ in range(90):
        opt.zero_grad()
        loss = criterion(net(data.x), data.y)
        loss.backward()
        opt.step()
        run.step(loss)
    return run.right(net, data)


@fault("torch", "exploding_depth", "initialisation_too_large", worse=0.2)
def ferries_recurrence_times_two(run: Run, faulty: bool) -> float:
    """nn.RNN(nonlinearity="relu") whose recurrent weights are twice an orthogonal matrix, over 28 hours."""
    # Forums: an RNN by ReLU whose loss is 1e14 in the first step.
    data, net = ferries(), Reader(2, 1)
    rnn = nn.RNN(2, 24, batch_first=True, nonlinearity="relu" if faulty else "tanh")
    for name, weight in rnn.named_parameters():
        if name == "weight_hh_l0":
            nn.init.orthogonal_(weight, 2.0 if faulty else 1.0)
    net.rnn = rnn  # type: ignore[assignment]
    train(run, net, nn.MSELoss(), optim.Adam(net.parameters(), 0.005), data, steps=110)
    return run.near(net, data)


@fault("torch", "unscaled_inputs", worse=0.3)
def ferries_tide_in_millimetres(run: Run, faulty: bool) -> float:
    """Tides in millimetres and wind in metres an hour into a GRU: its gates are at their ends."""
    # Data Science Stack Exchange: an LSTM for a share's price whose forecast is flat.
    data, net = ferries(), Reader(2, 1)
    if faulty:
        data = data._replace(x=3000 * data.x + 9000, test_x=3000 * data.test_x + 9000)
    train(run, net, nn.MSELoss(), optim.Adam(net.parameters(), 0.01), data, steps=110)
    return run.near(net, data)


@fault("torch", "unequal_features", "unscaled_inputs", worse=0.3)
def loaves_one_feature_in_seconds(run: Run, faulty: bool) -> float:
    """Five features are about one, the sixth is a time of 1.7e9 seconds, whose parts of a day matter."""
    # Stack Overflow: a time stamp among the features, and a loss of 1e15.
    data = loaves()
    if faulty:
        data = data._replace(x=data.x.clone(), test_x=data.test_x.clone())
        for x in (data.x, data.test_x):
            x[:, 5] = 1.7e9 + 4e4 * x[:, 5]
    net = layered(6, 48, 24, 1)
    train(run, net, nn.MSELoss(), optim.Adam(net.parameters(), 0.01), data, steps=120)
    return run.near(net, data)


@fault("torch", "missing_values", "undefined_operation")
def trams_each_pixel_by_its_deviation(run: Run, faulty: bool) -> float:
    """Readings are standardised by their deviation; one channel is always the same, and 0 / 0 is NaN."""
    # Forums: assert not torch.isnan(x).any() was the answer.
    data = trams()
    data = data._replace(x=data.x.clone(), test_x=data.test_x.clone())
    for x in (data.x, data.test_x):
        x[:, 19, 2] = 0.5
    mean, spread = data.x.mean(0), data.x.std(0)
    spread = spread if faulty else spread.clamp_min(1e-3)
    data = data._replace(x=(data.x - mean) / spread, test_x=(data.test_x - mean) / spread)
    net = nn.Sequential(nn.Flatten(), layered(60, 40, 5))
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), 0.005), data, steps=100)
    return run.right(net, data)


@fault("torch", "missing_codes", "unscaled_inputs", "unequal_features", worse=0.12)
def locks_a_reading_of_minus_9999(run: Run, faulty: bool) -> float:
    """A tenth of three readings is missing, and coded as -9999."""
    # Data science pages on codes for what is missing.
    data = as_column(locks())
    gaps = torch.rand(data.x.shape, generator=torch.Generator().manual_seed(8)) < 0.1
    gaps[:, 3:] = False
    data = data._replace(x=data.x.masked_fill(gaps, -9999.0 if faulty else 0.0))
    net = layered(9, 40, 24, 1)
    train(run, net, nn.BCEWithLogitsLoss(), optim.Adam(net.parameters(), 0.005), data, steps=120)
    return run.right_side(net, data, 0.0)


@fault("torch", "empty_inputs", worse=0.3)
def quilts_whole_division(run: Run, faulty: bool) -> float:
    """pixels // 255 in place of pixels / 255: nearly all are zero."""
    # Stack Overflow: a CNN that gives the same answer to each image; print what goes in.
    data = quilts()
    if faulty:
        data = data._replace(x=(255 * data.x).floor() // 256, test_x=(255 * data.test_x).floor() // 256)
    net = Squares()
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), 0.005), data, steps=100)
    return run.right(net, data)


@fault("torch", "same_batch", worse=0.2, since=3)
def loaves_first_rows_for_ever(run: Run, faulty: bool) -> float:
    """rows[:32] in the loop, left from a trial whether the network can learn a batch by heart."""
    # Pages that advise to overfit one batch first; forums: a test at chance.
    data, net = loaves(), layered(6, 48, 24, 1)
    opt = optim.Adam(net.parameters(), 0.01)
    criterion = nn.MSELoss()
    run.watch(net, criterion)
    for x, y in batches(data.x, data.y, size=32, steps=120):
        some, wanted = (data.x[:32], data.y[:32]) if faulty else (x, y)
        opt.zero_grad()
        loss = criterion(net(some), wanted)
        loss.backward()
        opt.step()
        run.step(loss)
    return run.near(net, data)


@fault("torch", "sorted_data", "constant_labels", worse=0.3)
def hives_sorted_and_never_shuffled(run: Run, faulty: bool) -> float:
    """Samples lie sorted by state, and the loader does not shuffle: one state for fifty batches, then the next."""
    # Forums: a loss that is nearly zero, jumps, and is nearly zero again.
    data, net = hives(), layered(7, 48, 32, 4)
    order = data.y.argsort() if faulty else torch.randperm(len(data.y))
    opt = optim.SGD(net.parameters(), 0.1, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    run.watch(net, criterion)
    for _ in range(4):
        for chosen in order.split(32):
            opt.zero_grad()
            loss = criterion(net(data.x[chosen]), data.y[chosen])
            loss.backward()
            opt.step()
            run.step(loss)
    return run.right(net, data)


@fault("torch", "unbalanced_labels", good=0.3, worse=0.2)
def kites_hardly_any_of_the_mask(run: Run, faulty: bool) -> float:
    """A kite covers one pixel in 200, and a plain BCE of pixels says "sky" everywhere."""
    # Data Science Stack Exchange: segmentation of what is small.
    data = kites("mask")
    if faulty:
        one = (data.y * torch.rand(data.y.shape, generator=torch.Generator().manual_seed(2)) > 0.93).float()
        data = data._replace(y=one)
    net = nn.Sequential(nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1))
    train(run, net, nn.BCEWithLogitsLoss(), optim.Adam(net.parameters(), 0.01), data, size=16, steps=120)
    said, wanted = run.answers(net, data.test_x) > 0, data.test_y > 0.5
    return float((said & wanted).sum() / (said | wanted).sum().clamp_min(1))


@fault("torch", "shuffled_labels", worse=0.3)
def ferries_two_samplers(run: Run, faulty: bool) -> float:
    """Tides and delays come from two loaders, each with a random sampler of its own."""
    # Forums on zip of two shuffled loaders.
    data, net = ferries(), Reader(2, 1)
    if faulty:
        data = data._replace(y=data.y[torch.randperm(len(data.y), generator=torch.Generator().manual_seed(9))])
    train(run, net, nn.MSELoss(), optim.Adam(net.parameters(), 0.01), data, steps=110)
    return run.near(net, data)


@fault("torch", "shuffled_labels", worse=0.3)
def quilts_labels_drawn_anew(run: Run, faulty: bool) -> float:
    """__getitem__ draws its own index for the label: random.choice(labels)."""
    # Stack Overflow: a data set of one's own whose training loss stays at the logarithm of five.
    data, net = quilts(), Squares()
    opt = optim.Adam(net.parameters(), 0.005)
    criterion = nn.CrossEntropyLoss()
    run.watch(net, criterion)
    for x, y in batches(data.x, data.y, size=32, steps=110):
        opt.zero_grad()
        loss = criterion(net(x), data.y[torch.randint(len(data.y), y.shape)] if faulty else y)
        loss.backward()
        opt.step()
        run.step(loss)
    return run.right(net, data)


@fault("torch", "target_scale", "rate_too_large", worse=0.3)
def loaves_in_micrometres_under_sgd(run: Run, faulty: bool) -> float:
    """Heights of 90,000 micrometres under MSELoss and SGD: the first update is enormous."""
    # Stack Overflow: a regression of prices whose loss is inf.
    data = loaves("lifted" if faulty else "scaled")
    net = layered(6, 48, 24, 1)
    opt = optim.SGD(net.parameters(), 0.02, momentum=0.9)
    train(run, net, nn.MSELoss(), opt, data, steps=100)
    return run.near(net, data)


@fault("torch", "target_scale", "rate_too_small", worse=0.3)
def ferries_late_in_seconds(run: Run, faulty: bool) -> float:
    """Delays of half an hour in seconds, for a GRU under Adam: each forecast is a few."""
    # Questions: an LSTM that gives one number for all; scale the targets too.
    data, net = ferries(), Reader(2, 1)
    if faulty:
        data = data._replace(y=2000 + 700 * data.y, test_y=2000 + 700 * data.test_y)
    train(run, net, nn.SmoothL1Loss(), optim.Adam(net.parameters(), 0.01), data, steps=110)
    return run.near(net, data)


@fault("torch", "padding_counted", worse=0.2, good=0.3)
def knots_padding_is_a_kind(run: Run, faulty: bool) -> float:
    """Ropes of one to three knots are padded to sixteen, and the loss has no ignore_index."""

    # Issues on taggers: a loss near zero, and nothing but padding is said.
    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.codes, self.rnn = nn.Embedding(7, 16), nn.GRU(16, 24, batch_first=True)
            self.head = nn.Linear(24, 7)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.rnn(self.codes(x))[0])

    data, net = knots(True), Tagger()
    opt = optim.Adam(net.parameters(), 0.01)
    run.watch(net)
    for x, y in batches(data.x, data.y, size=32, steps=120):
        opt.zero_grad()
        loss = F.cross_entropy(net(x).flatten(0, 1), y.flatten(), ignore_index=-100 if faulty else 6)
        loss.backward()
        opt.step()
        run.step(loss)
    there = data.test_y < 6
    said = run.answers(net, data.test_x).argmax(-1)
    return (float((said == data.test_y)[there].float().mean()) - 1 / 6) * 6 / 5
