"""PyTorch, opened (held out until 2026-11-30): the last layer, the loss, and shapes."""

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn, optim

from bench.faults.case import fault
from bench.faults.data import as_column
from bench.faults.opened_2_data import (
    codes,
    colours,
    glyphs,
    hearts,
    hires,
    letter_names,
    maze,
    motion_scaled,
    pendulum,
    shape_boxes,
    shapes,
    spirals,
    ways,
)
from bench.faults.opened_2_nets import CodeNet, GlyphNet, MotionNet, QNet, UNet, dense
from bench.faults.run import Run, batches, train


@fault("torch", "double_softmax", worse=0.1)
def glyph_softmax_in_forward_of_a_cnn(run: Run, faulty: bool) -> float:
    """A tutorial's CNN without norms, with one more line, F.softmax, under CrossEntropyLoss and SGD."""

    class Net(GlyphNet):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            scores = super().forward(x)
            return F.softmax(scores, dim=1) if faulty else scores

    model = Net(8, norm=False)
    optimizer = optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    train(run, model, nn.CrossEntropyLoss(), optimizer, glyphs(), steps=150)
    return run.right(model, glyphs())


@fault("torch", "wrong_output_activation", "double_sigmoid", "double_softmax", "several_labels_for_one", good=0.3)
def vowels_softmax_before_bce_with_logits(run: Run, faulty: bool) -> float:
    """Which vowels occur in a name: several may, and a softmax stands before BCEWithLogitsLoss."""
    made = letter_names()
    y, test_y = ((x[:, :, None] == torch.tensor([1, 5, 9, 15, 21])).any(1).float() for x in (made.x, made.test_x))
    data = made._replace(y=y, test_y=test_y)
    model = nn.Sequential(nn.EmbeddingBag(27, 24, mode="sum"), nn.LayerNorm(24), *dense(24, 32, 5))
    if faulty:
        model.append(nn.Softmax(dim=-1))
    train(run, model, nn.BCEWithLogitsLoss(), optim.AdamW(model.parameters(), lr=0.01), data, steps=120)
    return run.near(nn.Sequential(model, nn.Sigmoid()), data)


@fault("torch", "missing_log_softmax", "wrong_output_activation", worse=None)
def colours_distilled_from_probabilities(run: Run, faulty: bool) -> float:
    """KLDivLoss is given the student's probabilities, and not their logarithms."""
    made = colours()
    middles = torch.stack([made.x[made.y == hue].mean(0) for hue in range(8)])
    y, test_y = (torch.softmax(-8 * torch.cdist(x, middles), 1) for x in (made.x, made.test_x))
    data = made._replace(y=y, test_y=test_y)
    student = dense(3, 32, 32, 8)
    optimizer = optim.Adam(student.parameters(), lr=0.01)
    criterion = nn.KLDivLoss(reduction="batchmean")
    run.watch(student, criterion)
    for x, wanted in batches(data.x, data.y, steps=100):
        optimizer.zero_grad()
        scores = student(x)
        said = F.softmax(scores, dim=1) if faulty else F.log_softmax(scores, dim=1)
        loss = criterion(said, wanted)
        loss.backward()
        optimizer.step()
        run.step(loss)
    return run.near(nn.Sequential(student, nn.Softmax(dim=1)), data)


@fault("torch", "relu_on_output", "bounded_output")
def maze_relu_on_values(run: Run, faulty: bool) -> float:
    """A Q-network ends in a ReLU, and each step costs 1: all values are negative."""
    now, move, reward, then, end = maze()
    policy = QNet(relu=faulty)
    optimizer = optim.Adam(policy.parameters(), lr=0.005)
    criterion = nn.SmoothL1Loss()
    run.watch(policy, criterion)
    for _ in range(250):
        some = torch.randint(len(now), (48,))
        with torch.no_grad():
            best = reward[some] + 0.9 * (1 - end[some]) * policy(then[some]).max(1).values
        loss = criterion(policy(now[some]).gather(1, move[some, None]), best[:, None])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.step(loss)
    return ways(run.answers(policy, torch.eye(25)))


@fault("torch", "broadcast")
def maze_values_against_flat_targets(run: Run, faulty: bool) -> float:
    """gather gives (n, 1), the target of the Bellman equation is (n,)."""
    now, move, reward, then, end = maze()
    policy, target = QNet(), QNet()
    optimizer = optim.AdamW(policy.parameters(), lr=0.005)
    run.watch(policy)
    for step in range(300):
        if step % 10 == 0:
            target.load_state_dict(policy.state_dict())
        some = torch.randint(len(now), (64,))
        said = policy(now[some]).gather(1, move[some].unsqueeze(1))
        with torch.no_grad():
            wanted = reward[some] + 0.9 * (1 - end[some]) * target(then[some]).max(1)[0]
        loss = F.mse_loss(said, wanted if faulty else wanted.unsqueeze(1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(policy.parameters(), 10)
        optimizer.step()
        run.step(loss)
    return ways(run.answers(policy, torch.eye(25)))


@fault("torch", "wrong_output_activation", "bounded_output")
def shape_boxes_by_softmax(run: Run, faulty: bool) -> float:
    """A detector's box, three numbers about zero, comes out of the classifier's softmax."""
    data = shape_boxes()
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), *dense(256, 32, 3),
    )  # fmt: skip
    if faulty:
        model.append(nn.Softmax(dim=1))
    train(run, model, nn.SmoothL1Loss(), optim.Adam(model.parameters(), lr=0.005), data, steps=80)
    return run.near(model, data)


@fault("torch", "targets_outside_loss_range", good=0.4)
def shapes_masks_from_0_to_255(run: Run, faulty: bool) -> float:
    """A U-Net's masks are read from PNG files and stay 0 and 255, under BCEWithLogitsLoss."""
    data = shapes()
    model = UNet()
    seen = data._replace(y=data.y * 255) if faulty else data
    train(run, model, nn.BCEWithLogitsLoss(), optim.Adam(model.parameters(), lr=0.01), seen, size=16, steps=60)
    return run.right_side(model, data, 0.0)


@fault("torch", "softmax_over_one_unit", "wrong_loss", "class_index_beyond_units")
def hearts_cross_entropy_of_one_unit(run: Run, faulty: bool) -> float:
    """CrossEntropyLoss of (n, 1) scores and (n, 1) float labels is zero, always."""
    data = as_column(hearts())
    model = nn.Sequential(
        nn.Unflatten(1, (1, 64)), nn.Conv1d(1, 8, 5, stride=2), nn.ReLU(), nn.Conv1d(8, 8, 5, stride=2), nn.ReLU(),
        nn.Flatten(), nn.Linear(104, 1),
    )  # fmt: skip
    criterion: nn.Module = nn.CrossEntropyLoss() if faulty else nn.BCEWithLogitsLoss()
    train(run, model, criterion, optim.Adam(model.parameters(), lr=0.005), data, steps=100)
    return run.right_side(model, data, 0.0)


@fault("torch", "wrong_sign", "wrong_loss", good=0.4)
def shapes_dice_not_taken_from_one(run: Run, faulty: bool) -> float:
    """The Dice coefficient, which should grow, is minimised."""
    data = shapes()
    model = UNet()
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    run.watch(model)
    for x, mask in batches(data.x, data.y, size=16, steps=60):
        said = torch.sigmoid(model(x)).flatten(1)
        wanted = mask.flatten(1)
        dice = (2 * (said * wanted).sum(1) + 1) / (said.sum(1) + wanted.sum(1) + 1)
        loss = dice.mean() if faulty else 1 - dice.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.step(loss)
    return run.right_side(model, data, 0.0)


@fault("torch", "wrong_output_activation", "wrong_loss", "bounded_output", good=0.12, worse=0.15)
def hires_rates_into_poisson_of_logarithms(run: Run, faulty: bool) -> float:
    """PoissonNLLLoss takes logarithms of rates, and is given rates, by a softplus."""
    data = hires()
    model = nn.Sequential(*dense(8, 48, 48, 1), nn.Softplus())
    criterion = nn.PoissonNLLLoss(log_input=faulty)
    train(run, model, criterion, optim.Adam(model.parameters(), lr=0.005), data, size=64, steps=200)
    return run.near(model, data)


@fault("torch", "targets_outside_loss_range", "wrong_loss")
def hearts_soft_margin_of_zero_and_one(run: Run, faulty: bool) -> float:
    """SoftMarginLoss wants -1 and 1: a label of 0 says nothing."""
    data = as_column(hearts())
    seen = data if faulty else data._replace(y=2 * data.y - 1)
    model = dense(64, 32, 16, 1, act=nn.Tanh)
    train(run, model, nn.SoftMarginLoss(), optim.Adam(model.parameters(), lr=0.005), seen, steps=100)
    return run.right_side(model, data, 0.0)


@fault("torch", "wrong_axis", "shuffled_labels")
def motion_batch_first_forgotten(run: Run, faulty: bool) -> float:
    """nn.LSTM without batch_first=True is given (batch, time, axes): it reads on from one sample to the next."""
    data = motion_scaled()
    model = MotionNet(batch_first=not faulty)
    train(run, model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.005), data, steps=250)
    return run.right(model, data)


@fault("torch", "wrong_axis", "shuffled_labels")
def codes_viewed_not_transposed(run: Run, faulty: bool) -> float:
    """CrossEntropyLoss wants (n, classes, places), and (n, places, classes) is brought there by view."""
    data = codes()
    model = CodeNet()
    optimizer = optim.Adam(model.parameters(), lr=0.003)
    criterion = nn.CrossEntropyLoss()
    run.watch(model, criterion)
    for x, y in batches(data.x, data.y, size=64, steps=150):
        scores = model(x)
        loss = criterion(scores.view(len(x), 10, 12) if faulty else scores.transpose(1, 2), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.step(loss)
    return run.right(model, data)


@fault("torch", "no_nonlinearity")
def spirals_activation_never_called(run: Run, faulty: bool) -> float:
    """self.act stands in __init__, and forward never calls it."""
    data = spirals()

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = nn.Linear(2, 64)
            self.fc2 = nn.Linear(64, 64)
            self.fc3 = nn.Linear(64, 3)
            self.act = nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if faulty:
                return self.fc3(self.fc2(self.fc1(x)))
            return self.fc3(self.act(self.fc2(self.act(self.fc1(x)))))

    model = Net()
    train(run, model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.01), data, size=64, steps=250)
    return run.right(model, data)


@fault("torch", "bounded_output", worse=0.1)
def pendulum_tanh_on_output(run: Run, faulty: bool) -> float:
    """An angle of up to four radians, and a speed of up to six a second, by a tanh."""
    data = pendulum()
    model = dense(4, 64, 64, 2, act=nn.Tanh)
    if faulty:
        model.append(nn.Tanh())
    train(run, model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.005), data, size=64, steps=150)
    return run.near(model, data)


@fault("torch", "broadcast")
def pendulum_weights_of_samples(run: Run, faulty: bool) -> float:
    """The error of each sample (n, 1) times its weight (n,) is a matrix: all samples weigh the same."""
    data = pendulum()
    data = data._replace(y=data.y[:, :1], test_y=data.test_y[:, :1])
    # Those that turned over are wrong in this table, and are to count nothing.
    wild = torch.rand(len(data.y)) < 0.4
    seen = data._replace(y=torch.cat([torch.where(wild[:, None], 8.0, data.y), (~wild).float()[:, None]], 1))
    model = dense(4, 64, 64, 1, act=nn.SiLU)
    optimizer = optim.Adam(model.parameters(), lr=0.005)
    run.watch(model)
    for x, y in batches(seen.x, seen.y, size=64, steps=150):
        error = F.mse_loss(model(x), y[:, :1], reduction="none")
        weight = y[:, 1] if faulty else y[:, 1:]
        loss = (error * weight).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.step(loss)
    return run.near(model, data)
