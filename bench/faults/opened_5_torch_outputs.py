"""PyTorch, opened (held out until 2026-12-01): the last layer, the loss, shapes, and numbers that are not finite."""

import itertools

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn, optim

from bench.faults.case import fault
from bench.faults.data import as_column
from bench.faults.opened_5_data import (
    embers,
    ferries,
    hives,
    kites,
    knots,
    loaves,
    locks,
    quilts,
    roads,
    runes,
    sand,
    stalls,
    towns,
    trams,
    weeds,
)
from bench.faults.run import Data, Run, batches, train


def layered(*sizes: int, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers of these sizes, and an activation after all but the last."""
    net = nn.Sequential()
    for place, (before, after) in enumerate(itertools.pairwise(sizes)):
        if place:
            net.append(act())
        net.append(nn.Linear(before, after))
    return net


class Reader(nn.Module):
    """A recurrent layer over a series, and a head on its last state."""

    def __init__(self, inputs: int, outputs: int, kind: type[nn.GRU] | type[nn.LSTM] = nn.GRU, width: int = 24) -> None:
        super().__init__()
        self.rnn = kind(inputs, width, batch_first=True)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(x)[0][:, -1])


class Marks(nn.Module):
    """A transformer of one layer over runes; what is blank is masked."""

    def __init__(self, width: int = 24, outputs: int = 3) -> None:
        super().__init__()
        self.codes = nn.Embedding(30, width)
        self.layer = nn.TransformerEncoderLayer(width, 3, 48, dropout=0.0, batch_first=True, norm_first=True)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        there = (x > 0).float()[..., None]
        h = self.layer(self.codes(x), src_key_padding_mask=x == 0)
        return self.head((h * there).sum(1) / there.sum(1))


class Squares(nn.Module):
    """Two convolutions over cloth, and a head."""

    def __init__(self, outputs: int = 5, width: int = 12) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, width, 3, padding=1), nn.Conv2d(width, width, 3)
        self.pool, self.head = nn.MaxPool2d(2), nn.Linear(4 * width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.pool(torch.relu(self.conv1(x)))
        return self.head(self.pool(torch.relu(self.conv2(h))).flatten(1))


@fault("torch", "softmax_over_one_unit", worse=0.3)
def locks_softmax_of_one_unit(run: Run, faulty: bool) -> float:
    """nn.Softmax(dim=1) after nn.Linear(24, 1), under BCELoss."""
    # PyTorch forum and Stack Overflow: answers that are all exactly one.
    data = as_column(locks())
    net = layered(9, 40, 24, 1).append(nn.Softmax(dim=1) if faulty else nn.Sigmoid())
    train(run, net, nn.BCELoss(), optim.Adam(net.parameters(), 0.005), data, steps=100)
    return run.right_side(net, data, 0.5)


@fault("torch", "double_softmax", "wrong_output_activation", worse=0.1)
def trams_forward_gives_chances(run: Run, faulty: bool) -> float:
    """forward ends with F.softmax(x, dim=-1), and the loss is F.cross_entropy."""

    # Forums: why a classifier's loss stays far above zero, at 0.9 for five classes.
    class Chances(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.near, self.net = nn.Conv1d(3, 12, 7, stride=2), layered(84, 32, 5, act=nn.GELU)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            scores = self.net(F.gelu(self.near(x.transpose(1, 2))).flatten(1))
            return F.softmax(scores, dim=-1) if faulty else scores

    data, net = trams(), Chances()
    opt = optim.SGD(net.parameters(), 0.03, momentum=0.8)
    run.watch(net)
    for x, y in batches(data.x, data.y, size=32, steps=110):
        opt.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
        run.step(loss)
    return run.right(net, data)


@fault("torch", "double_sigmoid", "wrong_output_activation", worse=0.06, good=0.3)
def weeds_sigmoid_and_with_logits(run: Run, faulty: bool) -> float:
    """A last nn.Sigmoid, and BCEWithLogitsLoss, for six labels."""
    # Pages on multi-label networks: no chance is below one half.
    data = weeds()
    net = layered(10, 48, 6)
    if faulty:
        net.append(nn.Sigmoid())
    train(run, net, nn.BCEWithLogitsLoss(), optim.Adam(net.parameters(), 0.003), data, steps=80)
    said = run.answers(net, data.test_x)
    return float(1 - (((said > (0.5 if faulty else 0.0)).float() - data.test_y).abs().mean() / data.test_y.mean()))


@fault("torch", "missing_log_softmax", "logits_into_probability_loss", worse=0.2)
def trams_nll_of_what_a_gru_says(run: Run, faulty: bool) -> float:
    """NLLLoss on the scores of a linear head: a loss of minus thousands."""
    # PyTorch forum, often: a negative loss, "is that possible?".
    data, net = trams(), Reader(3, 5)
    if not faulty:
        net.head = nn.Sequential(net.head, nn.LogSoftmax(-1))  # type: ignore[assignment]
    train(run, net, nn.NLLLoss(), optim.Adam(net.parameters(), 0.01), data, steps=110)
    return run.right(net, data)


@fault("torch", "relu_on_output", "wrong_output_activation", worse=0.15)
def quilts_relu_on_scores(run: Run, faulty: bool) -> float:
    """F.relu around the last layer too, under CrossEntropyLoss."""

    # Stack Overflow: a CNN that gives the same for each image, whose forward wraps all in relu.
    class Wrapped(Squares):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            scores = super().forward(x)
            return F.relu(scores - 1.0) if faulty else scores

    data, net = quilts(), Wrapped()
    opt = optim.SGD(net.parameters(), 0.05, momentum=0.9)
    train(run, net, nn.CrossEntropyLoss(), opt, data, steps=110)
    return run.right(net, data)


@fault("torch", "logits_into_probability_loss", "wrong_output_activation", worse=0.15)
def locks_scores_clamped_for_bce(run: Run, faulty: bool) -> float:
    """BCELoss complained of a number that is no chance, so scores are clamped to 0..1."""

    # Forums: "all elements of input should be between 0 and 1", and how it was silenced.
    class Clamped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = layered(9, 40, 24, 1, act=nn.Tanh)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            score = self.net(x)
            return score.clamp(0, 1) if faulty else torch.sigmoid(score)

    data, net = as_column(locks()), Clamped()
    train(run, net, nn.BCELoss(), optim.Adam(net.parameters(), 0.01), data, steps=110)
    return run.right_side(net, data, 0.5)


@fault("torch", "bounded_output", "wrong_output_activation", worse=0.2)
def kites_sigmoid_for_places(run: Run, faulty: bool) -> float:
    """Places from -1 to 1, and a sigmoid at the end: the upper left is never said."""
    # Issues of detectors of landmarks: normalised to another range than the head's.
    data = kites()
    net = nn.Sequential(
        nn.Conv2d(1, 8, 4, stride=2), nn.ReLU(), nn.Conv2d(8, 12, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(192, 2), nn.Sigmoid() if faulty else nn.Tanh(),
    )  # fmt: skip
    train(run, net, nn.MSELoss(), optim.Adam(net.parameters(), 0.005), data, steps=120)
    return run.near(net, data)


@fault("torch", "relu_on_output", "bounded_output", worse=0.2)
def ferries_relu_after_the_head(run: Run, faulty: bool) -> float:
    """An LSTM's head, and ReLU behind it: ferries that are early are never told of."""
    # Stack Overflow: a forecast that never goes below zero.
    data, net = ferries(), Reader(2, 1, nn.LSTM)
    if faulty:
        net.head = nn.Sequential(net.head, nn.ReLU())  # type: ignore[assignment]
    train(run, net, nn.SmoothL1Loss(), optim.Adam(net.parameters(), 0.01), data, steps=110)
    return run.near(net, data)


@fault("torch", "targets_outside_loss_range", "target_scale", worse=0.3)
def embers_bytes_by_bce(run: Run, faulty: bool) -> float:
    """A coder whose copies are asked by BCE to be lights from 0 to 255."""
    # Issues of coders: a loss of minus millions, and white images.
    data = embers()
    net = nn.Sequential(layered(16, 24, 4), layered(4, 24, 16))
    opt = optim.Adam(net.parameters(), 0.01)
    run.watch(net)
    for x, _ in batches(data.x, data.y, size=32, steps=120):
        opt.zero_grad()
        wanted = (255 * x).round() if faulty else x
        loss = F.binary_cross_entropy_with_logits(net(x), wanted)
        loss.backward()
        opt.step()
        run.step(loss)
    said = torch.sigmoid(run.answers(net, data.test_x))
    return float(1 - (said - data.test_x).square().mean() / data.test_x.var(0).mean())


@fault("torch", "regression_loss_on_labels", "wrong_loss", worse=0.15)
def hives_number_of_the_state(run: Run, faulty: bool) -> float:
    """One unit under L1Loss is to say the number of the state; it was meant to name the state."""
    # Stack Overflow: a classifier by MSE that answers with the middle class.
    data = hives()
    net = layered(7, 48, 32, 1 if faulty else 4)
    opt = optim.Adam(net.parameters(), 0.01)
    if faulty:
        train(run, net, nn.L1Loss(), opt, data._replace(y=data.y.float()[:, None]), steps=120)
        return run.right_number(net, data)
    train(run, net, nn.CrossEntropyLoss(), opt, data, steps=120)
    return run.right(net, data)


@fault(
    "torch", "binary_loss_on_classes", "targets_outside_loss_range", "class_index_beyond_units", "wrong_loss", worse=0.2
)
def trams_bce_of_five_kinds(run: Run, faulty: bool) -> float:
    """One unit and BCEWithLogitsLoss, of labels 0 to 4."""
    # Forums: a loss below zero; the labels had more than two values.
    data = trams()
    net = nn.Sequential(nn.Flatten(), layered(60, 40, 1 if faulty else 5, act=nn.ELU))
    opt = optim.RMSprop(net.parameters(), 0.003)
    if faulty:
        train(run, net, nn.BCEWithLogitsLoss(), opt, data._replace(y=data.y.float()[:, None]), steps=100)
        return run.right_number(net, data)
    train(run, net, nn.CrossEntropyLoss(), opt, data, steps=100)
    return run.right(net, data)


@fault("torch", "broadcast", worse=0.3)
def loaves_huber_of_flat_heights(run: Run, faulty: bool) -> float:
    """HuberLoss of (n, 1) answers and (n,) heights: each with each."""
    # Forums: a warning of sizes that differ, and a network that says the mean.
    data = loaves()
    net = layered(6, 48, 24, 1)
    wanted = data._replace(y=data.y[:, 0]) if faulty else data
    train(run, net, nn.HuberLoss(), optim.Adam(net.parameters(), 0.01), wanted, steps=120)
    return run.near(net, data)


@fault("torch", "broadcast", worse=0.3)
def ferries_error_by_hand(run: Run, faulty: bool) -> float:
    """((said - late.squeeze()) ** 2).mean(), where only one side was squeezed."""
    # Stack Overflow: an LSTM whose forecast is a flat line.
    data, net = ferries(), Reader(2, 1)
    opt = optim.AdamW(net.parameters(), 0.01)
    run.watch(net)
    for x, late in batches(data.x, data.y, size=32, steps=110):
        opt.zero_grad()
        said = net(x)
        loss = ((said - (late.squeeze() if faulty else late)) ** 2).mean()
        loss.backward()
        opt.step()
        run.step(loss)
    return run.near(net, data)


@fault("torch", "wrong_axis", worse=0.2, good=0.4)
def knots_looks_at_other_ropes(run: Run, faulty: bool) -> float:
    """nn.TransformerEncoderLayer as it comes wants time first: samples look at each other, not knots at knots."""

    # Forums and issues on batch_first: a transformer that learns nothing of the order.
    class Before(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.codes, self.places = nn.Embedding(6, 32), nn.Parameter(torch.randn(16, 32))
            self.layer = nn.TransformerEncoderLayer(32, 2, 64, dropout=0.0, batch_first=not faulty)
            self.head = nn.Linear(32, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.layer(self.codes(x) + self.places)).transpose(1, 2)

    data, net = knots(), Before()
    data = data._replace(y=data.x.roll(1, 1), test_y=data.test_x.roll(1, 1))
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), 0.005), data, steps=150)
    said = run.answers(net, data.test_x).argmax(1)
    return (float((said == data.test_y).float().mean()) - 1 / 6) * 6 / 5


@fault("torch", "wrong_axis", worse=0.15, good=0.4)
def hives_gates_over_the_batch(run: Run, faulty: bool) -> float:
    """The gates of four experts are softmax(dim=0), over the samples, not over the experts."""

    # Issues of mixtures of experts: results that change with the size of a batch.
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate = nn.Linear(7, 4)
            self.experts = nn.ModuleList(layered(7, 24, 4) for _ in range(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            share = self.gate(x).softmax(0 if faulty else -1)
            return (share[:, None] * torch.stack([expert(x) for expert in self.experts], -1)).sum(-1)

    data, net = hives(), Mixed()
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), 0.02), data, size=64, steps=120)
    return run.right(net, data)


@fault("torch", "no_nonlinearity", worse=0.2)
def hives_activation_of_none(run: Run, faulty: bool) -> float:
    """An option act="none" of a configuration file becomes nn.Identity in each of four layers."""
    # Stack Overflow: many layers, and a result like that of logistic regression.
    data = hives()
    net = layered(7, 48, 48, 32, 4, act=nn.Identity if faulty else nn.SiLU)
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), 0.01), data, steps=120)
    return run.right(net, data)


@fault("torch", "wrong_sign", "wrong_loss", worse=0.3)
def embers_likeness_is_minimised(run: Run, faulty: bool) -> float:
    """F.cosine_similarity is the loss as it is: copies are to be unlike."""
    # Forums: cosine similarity, and whether it has to be taken from one.
    data = embers()
    data = Data(*(part - 0.5 for part in data))
    net = nn.Sequential(layered(16, 24, 5, act=nn.Tanh), layered(5, 24, 16, act=nn.Tanh))
    opt = optim.Adam(net.parameters(), 0.01)
    run.watch(net)
    for x, y in batches(data.x, data.y, size=32, steps=100):
        opt.zero_grad()
        like = F.cosine_similarity(net(x), y).mean()
        loss = like if faulty else 1 - like
        loss.backward()
        opt.step()
        run.step(loss)
    return float(F.cosine_similarity(run.answers(net, data.test_x), data.test_y).mean())


@fault("torch", "wrong_loss", "wrong_sign", worse=0.2, good=0.35)
def hives_triplets_the_other_way_round(run: Run, faulty: bool) -> float:
    """TripletMarginLoss(anchor, negative, positive): those of one state are pushed apart."""
    # Issues of metric learning: a loss that sticks at its margin or falls while retrieval is at chance.
    data = hives()
    net = layered(7, 48, 6)
    opt = optim.Adam(net.parameters(), 0.005)
    criterion = nn.TripletMarginLoss(1.0)
    run.watch(net, criterion)
    for x, y in batches(data.x, data.y, size=64, steps=140):
        opt.zero_grad()
        code = net(x)
        same = y[:, None] == y
        near = torch.multinomial(same.float(), 1)[:, 0]
        far = torch.multinomial((~same).float(), 1)[:, 0]
        loss = criterion(code, *((code[far], code[near]) if faulty else (code[near], code[far])))
        loss.backward()
        opt.step()
        run.step(loss)
    known, asked = run.answers(net, data.x), run.answers(net, data.test_x)
    said = data.y[torch.cdist(asked, known).topk(7, largest=False).indices].mode(1).values
    return float((said == data.test_y).float().mean() - 0.25) / 0.75


@fault("torch", "term_outweighs", "loss_scaled", worse=0.12)
def kites_mask_summed_place_averaged(run: Run, faulty: bool) -> float:
    """Of two heads one has a loss with reduction="sum", the other a mean: only the mask is learned."""

    # Forums on several losses: one head learns, the other stays where it began.
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(1, 8, 5, padding=2), nn.ReLU())
            self.mask = nn.Conv2d(8, 1, 3, padding=1)
            self.place = nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(392, 2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.body(x)
            self.said = self.mask(h)
            return self.place(h)

    data, masks, net = kites(), kites("mask").y, Both()
    opt = optim.SGD(net.parameters(), 0.1, momentum=0.9)
    run.watch(net)
    for chosen, y in batches(torch.arange(len(data.x)), data.y, size=32, steps=120):
        opt.zero_grad()
        place = net(data.x[chosen])
        how = "sum" if faulty else "mean"
        mask = F.binary_cross_entropy_with_logits(net.said, masks[chosen], reduction=how)
        loss = F.mse_loss(place, y) * (0.01 if faulty else 1.0) + mask
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        run.step(loss)
    return run.near(net, data)


@fault("torch", "adversary_wins", conditions="saturated dead", worse=0.3)
def sand_critic_is_far_ahead(run: Run, faulty: bool) -> float:
    """The generator has the loss of the first paper, log(1 - D), and a critic learns eight times in each step."""
    # Issues of GANs: a discriminator's loss of zero, and a generator whose points stay where they are.
    generator = torch.Generator().manual_seed(3)
    maker, critic = layered(4, 48, 48, 2), layered(2, 48, 48, 1, act=nn.ELU)
    first = optim.SGD(maker.parameters(), 0.1, momentum=0.5)
    second = optim.Adam(critic.parameters(), 0.02 if faulty else 0.003, betas=(0.5, 0.99))
    begun = apart(maker(torch.randn(300, 4)).detach(), sand(300, generator))
    run.watch(maker, prefix="maker")
    run.watch(critic, prefix="critic")
    for _ in range(150):
        for _ in range(8 if faulty else 1):
            second.zero_grad()
            real, made = critic(sand(64, generator)), critic(maker(torch.randn(64, 4)).detach())
            known = F.softplus(-real).mean() + F.softplus(made).mean()
            known.backward()
            second.step()
        first.zero_grad()
        said = critic(maker(torch.randn(64, 4)))
        loss = -F.softplus(said).mean() if faulty else F.softplus(-said).mean()
        loss.backward()
        first.step()
        run.step(loss)
    made = run.answers(maker, torch.randn(300, 4))
    return 1 - apart(made, sand(300, generator)) / begun if bool(torch.isfinite(made).all()) else float("nan")


def apart(made: torch.Tensor, real: torch.Tensor) -> float:
    """How far two clouds of points are from each other: their energy distance."""
    return float(2 * torch.cdist(made, real).mean() - torch.cdist(made, made).mean() - torch.cdist(real, real).mean())


@fault("torch", "undefined_operation", "number_range", since=0)
def quilts_entropy_by_hand(run: Run, faulty: bool) -> float:
    """A bonus for entropy, -(p * p.log()).sum(), where two of seven answers are ruled out by -1e9."""
    # Issues of reinforcement learning with actions that are not allowed: NaN, as zero times the logarithm of zero.
    data, net = quilts(), Squares(7)
    opt = optim.Adam(net.parameters(), 0.005)
    ruled_out = torch.arange(7) > 4
    run.watch(net)
    for x, y in batches(data.x, data.y, size=32, steps=110):
        opt.zero_grad()
        scores = net(x).masked_fill(ruled_out, -1e9)
        chance = scores.softmax(-1)
        entropy = -(chance * (chance if faulty else chance + 1e-8).log()).sum(-1).mean()
        loss = F.cross_entropy(scores, y) - 0.01 * entropy
        loss.backward()
        opt.step()
        run.step(loss)
    return run.right(net, data)


@fault("torch", "undefined_operation", since=0)
def embers_length_of_no_difference(run: Run, faulty: bool) -> float:
    """A penalty on the distance of weights from a copy of themselves, by a root of a sum of squares."""
    # Issues of continual learning: NaN in the second step, as a norm has no slope at zero.
    data = embers()
    net = nn.Sequential(layered(16, 24, 4), layered(4, 24, 16))
    before = [p.detach().clone() for p in net.parameters()]
    opt = optim.Adam(net.parameters(), 0.01)
    run.watch(net)
    for x, y in batches(data.x, data.y, size=32, steps=120):
        opt.zero_grad()
        squares = [((p - b) ** 2).sum() for p, b in zip(net.parameters(), before, strict=True)]
        away = sum((s.sqrt() if faulty else s) for s in squares)
        loss = F.mse_loss(net(x), y) + 1e-5 * away
        loss.backward()
        opt.step()
        run.step(loss)
    return run.near(net, data)


@fault("torch", "masked_rows", "undefined_operation", since=0, good=0.35)
def runes_lines_of_nothing(run: Run, faulty: bool) -> float:
    """Some lines are blank altogether, and scores of blanks are minus infinity in an attention by hand."""

    # Issues of many transformers: float("-inf") in masks, and a loss that is NaN from some batch on.
    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.codes, self.ask, self.head = nn.Embedding(30, 20), nn.Linear(20, 1), nn.Linear(20, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.codes(x)
            score = self.ask(h)[..., 0].masked_fill(x == 0, float("-inf") if faulty else -1e4)
            return self.head((score.softmax(-1)[..., None] * h).sum(1))

    data, net = runes(), Pooled()
    x = data.x.clone()
    x[torch.randperm(len(x), generator=torch.Generator().manual_seed(4))[:25]] = 0
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), 0.03), data._replace(x=x), steps=130)
    return run.right(net, data)


@fault("torch", "number_range", "undefined_operation", "empty_inputs", "unscaled_inputs", since=0)
def trams_squares_in_half(run: Run, faulty: bool) -> float:
    """Readings in millimetres are divided by their norm in float16, whose squares are infinite."""

    # Issues on half precision: a norm by hand overflows, and all that follows is zero or NaN.
    class Level(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = (300 * x).half() if faulty else 300 * x
            return (x / (x.pow(2).sum((1, 2), keepdim=True).sqrt() + 1e-3)).float()

    data = trams()
    net = nn.Sequential(Level(), nn.Flatten(), layered(60, 40, 5))
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), 0.01), data, steps=110)
    return run.right(net, data)


@fault("torch", "undefined_operation", "wrong_output_activation", since=0)
def stalls_poisson_of_a_bare_head(run: Run, faulty: bool) -> float:
    """PoissonNLLLoss(log_input=False, eps=0) on a linear head, which may say less than nothing."""
    # Forums on counts: NaN at once, or after some steps.
    data = stalls()
    net = layered(4, 32, 16, 1)
    if not faulty:
        net.append(nn.Softplus())
    criterion = nn.PoissonNLLLoss(log_input=False, eps=0.0 if faulty else 1e-6)
    train(run, net, criterion, optim.Adam(net.parameters(), 0.01), data, steps=110)
    return run.near(net, data)


@fault("torch", "one_hot_against_sparse", "broadcast", "wrong_loss", worse=0.2)
def towns_mse_of_numbers_for_three_units(run: Run, faulty: bool) -> float:
    """Three units of a graph network are compared by MSE with a column of class numbers."""
    # Forums: a target of another size is broadcast along the classes.

    class Means(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.join, (self.one, self.other) = roads(), (nn.Linear(5, 16), nn.Linear(16, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.other(self.join @ torch.relu(self.one(self.join @ x)))

    data, net = towns(), Means()
    wanted = data.y.float()[:, None] if faulty else F.one_hot(data.y, 3).float()
    opt = optim.Adam(net.parameters(), 0.03)
    criterion = nn.MSELoss()
    run.watch(net, criterion)
    for _ in range(100):
        opt.zero_grad()
        loss = criterion(net(data.x), wanted)
        loss.backward()
        opt.step()
        run.step(loss)
    return run.right(net, data)
