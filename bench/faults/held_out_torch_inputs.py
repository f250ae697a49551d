"""PyTorch, held out: inputs and targets."""

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn, optim

from bench.faults.case import fault
from bench.faults.data import as_column
from bench.faults.held_out_data import (
    bricks,
    claims,
    dials,
    films,
    gaits,
    geysers,
    herbs,
    notes,
    phrases,
    queues,
    slots,
    specks,
    wells,
)
from bench.faults.held_out_nets import Recurrent, Regressor, Tagger, Tunes, fit, hits, mlp, overlap, pictures
from bench.faults.run import Run, batches, train


@fault("torch", "unscaled_inputs", worse=0.3)
def dials_bytes_into_tanh(run: Run, faulty: bool) -> float:
    """Images as bytes, 0 to 255, for convolutions by tanh: all units are at their ends from the first batch on."""
    # Stack Overflow: ToTensor() divides, torch.from_numpy does not.
    data = dials("tip")
    if faulty:
        data = data._replace(x=(255 * data.x).floor(), test_x=(255 * data.test_x).floor())
    net = pictures(2, act=nn.Tanh)
    train(run, net, nn.MSELoss(), optim.SGD(net.parameters(), 0.1, momentum=0.8), data, size=24, steps=110)
    return run.near(net, data)


@fault("torch", "unscaled_inputs", worse=0.3)
def geysers_readings_in_pascals(run: Run, faulty: bool) -> float:
    """Readings of about 101,325, give or take 300, as the logger has them, into an LSTM: its gates are open or shut."""
    # Forums on sensors: a forecast that is flat until the mean was taken off.
    data, net = geysers(), Recurrent(2, 1, hidden=16)
    if faulty:
        data = data._replace(x=101325 + 300 * data.x, test_x=101325 + 300 * data.test_x)
    train(run, net, nn.MSELoss(), optim.Adam(net.parameters(), 0.01), data, size=24, steps=110)
    return run.near(net, data)


@fault("torch", "unequal_features", "unscaled_inputs", worse=0.3)
def bricks_hours_beside_shares(run: Run, faulty: bool) -> float:
    """Features as they were noted down, 0.02 of water beside 40,000 seconds, under SGD; the twin standardises them."""
    # Stack Overflow: NaN in a regression; StandardScaler. The twin takes batches of two.
    data = bricks("raw")
    if not faulty:
        mean, spread = data.x.mean(0), data.x.std(0)
        data = data._replace(x=(data.x - mean) / spread, test_x=(data.test_x - mean) / spread)
    net = mlp(7, 24, 1)
    train(run, net, nn.MSELoss(), optim.SGD(net.parameters(), 0.02), data, size=2, steps=260)
    return run.near(net, data)


@fault("torch", "unequal_features", "unscaled_inputs", worse=0.3)
def claims_number_of_the_policy(run: Run, faulty: bool) -> float:
    """The number of the policy, nine digits that mean nothing, is a column among others."""
    # Data Science Stack Exchange: drop what identifies.
    data = as_column(claims())
    generator = torch.Generator().manual_seed(5)
    if faulty:
        for x in (data.x, data.test_x):
            x[:, 13] = 1e8 * (1 + 8 * torch.rand(len(x), generator=generator))
    net = mlp(14, 24, 12, 1)
    train(run, net, nn.BCEWithLogitsLoss(), optim.Adam(net.parameters(), 0.01), data, size=32, steps=120)
    return run.right_side(net, data, 0.0)


@fault("torch", "missing_values", worse=0.3, since=0)
def wells_readings_that_are_not_there(run: Run, faulty: bool) -> float:
    """One reading in two hundred is NaN, and goes in as it is; the twin puts the mean there."""
    # Stack Overflow: isnan().any() of the batch is the first thing to ask for.
    data, net = wells(), mlp(8, 40, 24, 3)
    gone = torch.rand(data.x.shape, generator=torch.Generator().manual_seed(4)) < 0.005
    data = data._replace(x=data.x.masked_fill(gone, torch.nan if faulty else 0.0))
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), 0.01), data, size=32, steps=120)
    return run.right(net, data)


@fault("torch", "missing_values", "undefined_operation", worse=0.3)
def queues_logarithm_of_a_feature(run: Run, faulty: bool) -> float:
    """np.log of two columns that "are always positive": NaN for half of the rows."""
    # Questions on skewed features; log1p of what may be below zero does the same.
    data, net = queues(), mlp(5, 24, 12, 1)
    if faulty:
        data = data._replace(x=torch.cat([data.x[:, :3], (data.x[:, 3:] + 1.5).log()], 1))
    Regressor(run, net, nn.SmoothL1Loss(), optim.Adam(net.parameters(), 0.03)).fit(data.x, data.y, epochs=4)
    return run.near(net, data)


@fault("torch", "missing_codes", "unscaled_inputs", "unequal_features", worse=0.2)
def geysers_minutes_of_minus_32768(run: Run, faulty: bool) -> float:
    """A logger writes -32768 where it has no reading, in one of twenty minutes; the twin writes zero."""
    # Forums on sensors: spikes in a plot that nobody had drawn.
    data, net = geysers(), nn.Sequential(nn.Flatten(), mlp(52, 32, 1))
    gone = torch.rand(data.x.shape[:2], generator=torch.Generator().manual_seed(6)) < 0.05
    data = data._replace(x=data.x.masked_fill(gone[..., None], -32768.0 if faulty else 0.0))
    train(run, net, nn.MSELoss(), optim.Adam(net.parameters(), 0.01), data, size=32, steps=130)
    return run.near(net, data)


@fault("torch", "empty_inputs", worse=0.3)
def notes_all_words_are_unknown(run: Run, faulty: bool) -> float:
    """vocabulary.get(word, 1), with words in capitals and a vocabulary without: all are the unknown one."""
    # Stack Overflow on text: the same answer for each review.
    data, net = notes(), nn.Sequential(nn.EmbeddingBag(28, 16, padding_idx=0), mlp(16, 24, 4))
    if faulty:
        data = data._replace(x=(data.x > 0).long(), test_x=(data.test_x > 0).long())
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), 0.02), data, size=32, steps=120)
    return run.right(net, data)


@fault("torch", "empty_inputs", worse=0.3)
def slots_buffer_that_is_never_filled(run: Run, faulty: bool) -> float:
    """states = np.zeros((batch, 6)) is made, and what is read goes into a list that nobody uses."""
    # Issues on replay buffers: all states are zero.
    data, net = slots(), mlp(6, 24, 4)
    run.watch(net)
    opt = optim.Adam(net.parameters(), 0.02)
    for x, y in batches(data.x, data.y, size=32, steps=110):
        states, seen = torch.zeros(32, 6), []
        for place, state in enumerate(x):
            seen.append(state)
            if not faulty:
                states[place] = state
        opt.zero_grad()
        loss = F.cross_entropy(net(states), y)
        loss.backward()
        opt.step()
        run.step(loss)
    return run.right(net, data)


@fault("torch", "same_batch", worse=0.2, since=3)
def wells_iterator_made_in_each_step(run: Run, faulty: bool) -> float:
    """x, y = next(iter(loader)) in each step, with shuffle=False: the first 24 samples, for ever."""
    # Forums: a training loss of zero, and a test at chance.
    data, net = wells(), mlp(8, 40, 24, 3)
    pairs = torch.utils.data.TensorDataset(data.x, data.y)
    loader = torch.utils.data.DataLoader(pairs, batch_size=24, shuffle=not faulty)
    opt = optim.Adam(net.parameters(), 0.01)
    criterion = nn.CrossEntropyLoss()
    run.watch(net, criterion)
    for _ in range(150):
        x, y = next(iter(loader))
        opt.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        opt.step()
        run.step(loss)
    return run.right(net, data)


@fault("torch", "same_batch", worse=0.2, since=3)
def bricks_start_is_divided_not_multiplied(run: Run, faulty: bool) -> float:
    """start = i // size where i * size was meant: in 130 steps the window of 32 rows moves by four."""
    # Code Review on batches by slices: a fine training loss, and R² below zero on what was held back.
    data, net = bricks(), mlp(7, 40, 20, 1)
    opt = optim.Adam(net.parameters(), 0.01)
    run.watch(net)
    for i in range(130):
        start = i // 32 if faulty else 32 * i % (len(data.x) - 31)
        opt.zero_grad()
        loss = F.mse_loss(net(data.x[start : start + 32]), data.y[start : start + 32])
        loss.backward()
        opt.step()
        run.step(loss)
    return run.near(net, data)


@fault("torch", "sorted_data", "constant_labels", worse=0.3)
def dials_one_folder_after_the_other(run: Run, faulty: bool) -> float:
    """Images come folder by folder, sector by sector, since the sampler was left out: 25 batches of each."""
    # Forums on ImageFolder without shuffle.
    data, net = dials(), pictures(6)
    order = data.y.argsort() if faulty else torch.randperm(len(data.y))
    opt = optim.SGD(net.parameters(), lr=0.03, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    run.watch(net, criterion)
    for rows in order.split(8):
        opt.zero_grad()
        loss = criterion(net(data.x[rows]), data.y[rows])
        loss.backward()
        opt.step()
        run.step(loss)
    return run.right(net, data)


@fault("torch", "constant_labels", worse=0.3)
def phrases_labels_cast_too_early(run: Run, faulty: bool) -> float:
    """Marks were scaled to 0, 0.5 and 1 and are cast by .long() before they are doubled: two of three are zero."""
    # Stack Overflow: labels after a scaler.
    data, net = phrases(), Tagger()
    if faulty:
        data = data._replace(y=(0.499 * data.y).long() * 2)
    opt = optim.Adam(net.parameters(), 0.01)
    fit(run, net, lambda x, y: F.cross_entropy(net(x).transpose(1, 2), y), opt, data, steps=100)
    return hits(run.answers(net, data.test_x), data.test_y)


@fault("torch", "unbalanced_labels", good=0.3, worse=0.25)
def claims_one_in_fifty(run: Run, faulty: bool) -> float:
    """One claim in fifty is paid, and none is said to be; the twin has as few, and gives each the weight of forty."""
    # Data Science Stack Exchange on fraud: an accuracy of 0.98 that says nothing. The score is balanced.
    data, net = as_column(claims(0.02)), mlp(14, 16, 1)
    criterion = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(1.0 if faulty else 40.0))
    train(run, net, criterion, optim.Adam(net.parameters(), 0.005), data, size=32, steps=100 if faulty else 150)
    said, wanted = run.answers(net, data.test_x).flatten() > 0, data.test_y.flatten() > 0.5
    return float(said[wanted].float().mean() + (~said[~wanted]).float().mean() - 1)


@fault("torch", "unbalanced_labels", "padding_counted", good=0.4, worse=0.3)
def specks_dimmed_and_few(run: Run, faulty: bool) -> float:
    """One pixel in twenty is a speck, under a plain mean of squares and SGD: nothing but background is said."""
    # Forums on small objects; the twin's loss is one minus Dice, and falls after a plateau.
    data = specks()
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1),
        nn.Sigmoid(),
    )  # fmt: skip

    def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        said = net(x)
        if faulty:
            return F.mse_loss(said, y)
        return 1 - (2 * (said * y).sum() + 1) / (said.sum() + y.sum() + 1)

    opt: optim.Optimizer = optim.SGD(net.parameters(), lr=0.1) if faulty else optim.Adam(net.parameters(), lr=0.02)
    fit(run, net, loss_of, opt, data, size=16, steps=150)
    return overlap(run.answers(net, data.test_x) > 0.5, data.test_y > 0.5)


@fault("torch", "shuffled_labels", worse=0.3)
def herbs_sorted_by_another_key(run: Run, faulty: bool) -> float:
    """Notes were sorted by their length before they were counted, labels were not: two files out of step."""
    # Questions on os.listdir, whose order is any.
    data, net = herbs(), mlp(36, 24, 6)
    if faulty:
        data = data._replace(x=data.x[data.x.sum(1).argsort()])
    train(run, net, nn.BCEWithLogitsLoss(), optim.Adam(net.parameters(), 0.02), data, size=16, steps=130)
    return run.right_side(net, data, 0.0)


@fault("torch", "shuffled_labels", "wrong_axis", worse=0.3)
def gaits_last_sample_in_place_of_last_step(run: Run, faulty: bool) -> float:
    """out[-1] of an LSTM with batch_first=True is the last walker, minute by minute, not the last minute of each."""

    # Stack Overflow on batch_first; 24 samples of 24 steps, so that no shape complains.
    class Walks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.fc = nn.GRU(3, 20, batch_first=True), nn.Linear(20, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out = self.lstm(x)[0]
            return self.fc(out[-1] if faulty else out.mean(1))

    data, net = gaits(), Walks()
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), 0.02), data, size=24, steps=120)
    said = torch.cat([run.answers(net, part) for part in data.test_x[:264].split(24)])
    return hits(said, data.test_y[:264])


@fault("torch", "target_scale", worse=0.3)
def bricks_millions_of_pascals(run: Run, faulty: bool) -> float:
    """Loads of three million pascals under L1Loss and Adam(0.01): in 120 steps the answer comes to a few hundred."""
    # Data Science Stack Exchange: all predictions are near zero. The twin divides by what a load is at most.
    data, net = bricks("pascals"), mlp(7, 40, 20, 1)
    unit = 1.0 if faulty else 1e6
    data = data._replace(y=data.y / unit, test_y=data.test_y / unit)
    train(run, net, nn.L1Loss(), optim.Adam(net.parameters(), 0.01), data, size=24, steps=170)
    return run.near(net, data)


@fault("torch", "target_scale", "rate_too_large", worse=0.3)
def geysers_heights_in_millimetres_under_sgd(run: Run, faulty: bool) -> float:
    """Heights of 20,000 millimetres, MSELoss and SGD(0.05): inf in the third batch."""
    # Stack Overflow: why is the loss of my regression inf? The twin has metres: about 20, far from one, and learns.
    data, net = geysers(), nn.Sequential(nn.Flatten(), mlp(52, 24, 1))
    unit = 1000.0 if faulty else 1.0
    data = data._replace(y=unit * (20 + 5 * data.y), test_y=unit * (20 + 5 * data.test_y))
    net[1][2].bias.data.fill_(20.0)  # type: ignore[index]
    train(run, net, nn.MSELoss(), optim.SGD(net.parameters(), 0.003 if not faulty else 0.05), data, size=32, steps=150)
    return run.near(net, data)


@fault("torch", "target_scale", worse=0.3)
def films_stars_in_hundredths(run: Run, faulty: bool) -> float:
    """Stars as a percentage of a thousand, 1000 to 5000, for products of small numbers."""

    # Issues on recommenders: a loss of nine millions that hardly falls.
    class Dot(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.who, self.what = nn.Embedding(50, 4), nn.Embedding(40, 4)
            self.seen, self.mean = nn.Embedding(50, 1), nn.Parameter(torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            both = (self.who(x[:, 0]) * self.what(x[:, 1])).sum(1, keepdim=True)
            return both + self.seen(x[:, 0]) + self.mean

    data, net = films(), Dot()
    unit = 1000.0 if faulty else 1.0
    data = data._replace(y=unit * data.y, test_y=unit * data.test_y)
    train(run, net, nn.MSELoss(), optim.Adam(net.parameters(), 0.05), data, size=48, steps=200)
    return run.near(net, data)


@fault("torch", "padding_counted", "unbalanced_labels", worse=0.2, good=0.35)
def phrases_lines_of_three_in_eighteen(run: Run, faulty: bool) -> float:
    """Lines of two to five pitches are padded to eighteen, and ignore_index is that of the library, not of the data."""

    # Issues on taggers: a loss near zero, and nothing but padding is said. The twin's lines are as short.
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb, self.rnn, self.fc = nn.Embedding(10, 8), nn.GRU(8, 16, batch_first=True), nn.Linear(16, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.rnn(self.emb(x))[0])

    data, net = phrases(True), Reader()
    opt = optim.Adam(net.parameters(), 0.006)
    skip = -100 if faulty else 3
    fit(
        run, net, lambda x, y: F.cross_entropy(net(x).flatten(0, 1), y.flatten(), ignore_index=skip), opt, data,
        size=24, steps=160,
    )  # fmt: skip
    there = data.test_y < 3
    return hits(run.answers(net, data.test_x)[there], data.test_y[there])


@fault("torch", "bootstrapped_targets", worse=0.3)
def bricks_values_of_the_next_state(run: Run, faulty: bool) -> float:
    """A value is its reward and 1.05 of what the same network says of the next state, which is a state like any."""
    # Issues on TD learning: a discount above one, no second network, and values that run away. The twin's is 0.5.
    data, net = bricks(), mlp(7, 32, 1)
    discount = 1.05 if faulty else 0.5
    opt = optim.SGD(net.parameters(), lr=0.1)
    run.watch(net)
    for x, y in batches(data.x, data.y + 1, size=32, steps=220):
        with torch.no_grad():
            wanted = y + discount * net(x.roll(1, 0)).mean()
        opt.zero_grad()
        loss = F.mse_loss(net(x), wanted)
        loss.backward()
        opt.step()
        run.step(loss)
    return run.near(net, data._replace(test_y=data.test_y + 1 + 1.0))


@fault("torch", "bootstrapped_targets", "wrong_loss", "constant_labels", worse=0.3)
def notes_labels_of_its_own(run: Run, faulty: bool) -> float:
    """Pseudo labels from the first step on: what is learned is what the network says itself, not what is known."""
    # Issues on semi-supervised loops: a loss that falls to zero, and one class for all.
    data, net = notes(), Tunes()
    fit(
        run, net, lambda x, y: F.cross_entropy(net(x), net(x).argmax(1) if faulty else y),
        optim.Adam(net.parameters(), 0.005), data, size=24, steps=110,
    )  # fmt: skip
    return run.right(net, data)
