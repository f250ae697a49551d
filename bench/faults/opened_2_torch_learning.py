"""PyTorch, opened (held out until 2026-11-30): rates, and parameters that are left out."""

import torch
from torch import nn, optim

from bench.faults.case import fault
from bench.faults.opened_2_data import (
    brain,
    glyphs,
    graphs,
    hearts,
    houses,
    maze,
    motion_scaled,
    pendulum,
    ratings,
    recall,
    shape_boxes,
    shapes,
    spirals,
    ways,
)
from bench.faults.opened_2_nets import GlyphNet, GraphNet, MotionNet, QNet, UNet, dense
from bench.faults.run import Run, batches, train


class Ahead(nn.Module):
    """A GRU over readings, and the next one."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(4, 24, batch_first=True)
        self.out = nn.Linear(24, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.gru(x)[1][-1])


@fault("torch", "rate_zero", "rate_too_small", since=12)
def brain_plateau_asked_each_batch(run: Run, faulty: bool) -> float:
    """ReduceLROnPlateau(patience=0) is stepped with the loss of each batch, where that of an epoch was meant."""
    data = brain()
    model = Ahead()
    optimizer = optim.Adam(model.parameters(), lr=0.005)
    scheduler = optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    criterion = nn.MSELoss()
    run.watch(model, criterion)
    for x, y in batches(data.x, data.y, steps=250):
        loss = criterion(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if faulty:
            scheduler.step(loss.item())
        run.step(loss)
    return run.near(model, data)


@fault("torch", "rate_too_large")
def glyph_adam_at_a_tenth(run: Run, faulty: bool) -> float:
    """Adam with the rate of 0.1 that SGD had, for a CNN without norms."""
    model = GlyphNet(8, norm=False)
    optimizer = optim.Adam(model.parameters(), lr=0.1 if faulty else 0.003)
    train(run, model, nn.CrossEntropyLoss(), optimizer, glyphs(), steps=150)
    return run.right(model, glyphs())


@fault("torch", "momentum", "rate_too_large")
def graphs_betas_the_wrong_way_round(run: Run, faulty: bool) -> float:
    """Adam(betas=(0.999, 0.9)), at a rate of 0.02."""
    data = graphs()
    model = GraphNet()
    optimizer = optim.Adam(model.parameters(), lr=0.02, betas=(0.999, 0.9) if faulty else (0.9, 0.999))
    train(run, model, nn.MSELoss(), optimizer, data, steps=120)
    return run.near(model, data)


@fault("torch", "weight_decay")
def motion_momentum_given_as_decay(run: Run, faulty: bool) -> float:
    """SGD(lr=0.1, weight_decay=0.9): the number that was meant for momentum."""
    data = motion_scaled()
    model = nn.Sequential(nn.Conv1d(40, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))
    decay, momentum = (0.9, 0.0) if faulty else (0.0, 0.9)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=momentum, weight_decay=decay)
    train(run, model, nn.CrossEntropyLoss(), optimizer, data, steps=120)
    return run.right(model, data)


@fault("torch", "loss_scaled", "rate_too_large", conditions="saturated outlier_channels")
def houses_scaled_and_never_unscaled(run: Run, faulty: bool) -> float:
    """GradScaler.scale(loss).backward(), and then optimizer.step() in place of scaler.step(optimizer)."""
    data = houses()
    model = dense(5, 32, 32, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.05)
    scaler = torch.amp.GradScaler("cpu")
    criterion = nn.MSELoss()
    run.watch(model, criterion)
    for x, y in batches(data.x, data.y, size=64, steps=80):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        scaler.scale(loss).backward()
        if faulty:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()
        run.step(loss)
    return run.near(model, data)


@fault("torch", "clipped", "non_differentiable", "loss_scaled")
def hearts_loss_clamped(run: Run, faulty: bool) -> float:
    """torch.clamp(loss, max=0.5), to avoid large losses: above, there is no gradient."""
    data = hearts()
    model = dense(64, 32, 2)
    optimizer = optim.Adam(model.parameters(), lr=0.005)
    criterion = nn.CrossEntropyLoss()
    run.watch(model, criterion)
    for x, y in batches(data.x, data.y, steps=80):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        if faulty:
            loss = torch.clamp(loss, max=0.5)
        loss.backward()
        optimizer.step()
        run.step(loss)
    return run.right(model, data)


@fault("torch", "rate_too_small")
def motion_slow_without_momentum(run: Run, faulty: bool) -> float:
    """SGD at 0.001 for an LSTM: after 300 steps the loss is at the logarithm of four."""
    data = motion_scaled()
    model = MotionNet()
    optimizer = optim.SGD(model.parameters(), lr=0.001) if faulty else optim.Adam(model.parameters(), lr=0.005)
    train(run, model, nn.CrossEntropyLoss(), optimizer, data, steps=300)
    return run.right(model, data)


@fault("torch", "missing_from_optimiser", good=0.4)
def motion_only_fc_in_the_optimiser(run: Run, faulty: bool) -> float:
    """optim.Adam(model.fc.parameters()), copied from a guide to transfer learning."""
    data = motion_scaled()
    model = MotionNet(width=8)
    optimizer = optim.Adam(model.fc.parameters() if faulty else model.parameters(), lr=0.02)
    train(run, model, nn.CrossEntropyLoss(), optimizer, data, steps=200)
    return run.right(model, data)


@fault("torch", "missing_from_optimiser", good=0.3)
def ratings_factors_a_plain_tensor(run: Run, faulty: bool) -> float:
    """The factors of people are torch.randn(60, 8) * 0.5, a plain tensor and no nn.Parameter."""
    data = ratings()

    class Factors(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            factors = torch.randn(60, 8) * 0.5
            self.people = factors if faulty else nn.Parameter(factors)
            self.films = nn.Embedding(40, 8)
            nn.init.normal_(self.films.weight, std=0.3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (self.people[x[:, 0]] * self.films(x[:, 1])).sum(1, keepdim=True)

    model = Factors()
    optimizer = optim.Adam(model.parameters(), lr=0.02, weight_decay=1e-4)
    train(run, model, nn.MSELoss(), optimizer, data, size=128, steps=200)
    return run.near(model, data)


@fault("torch", "frozen", good=0.4)
def glyph_backbone_never_pretrained(run: Run, faulty: bool) -> float:
    """The backbone is frozen as in the guide, and was made with pretrained=False."""
    data = glyphs()
    backbone = nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(),
    )  # fmt: skip
    for parameter in backbone.parameters():
        parameter.requires_grad = not faulty
    model = nn.Sequential(backbone, nn.Linear(32, 8))
    optimizer = optim.Adam(filter(lambda parameter: parameter.requires_grad, model.parameters()), lr=0.01)
    train(run, model, nn.CrossEntropyLoss(), optimizer, data, steps=200)
    return run.right(model, data)


@fault("torch", "detached")
def recall_state_detached_each_step(run: Run, faulty: bool) -> float:
    """A loop over time detaches the state after each symbol, as one should between batches."""
    data = recall(6)

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(8, 16)
            self.cell = nn.GRUCell(16, 32)
            self.out = nn.Linear(32, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            state = torch.zeros(len(x), 32)
            for symbol in self.embed(x).unbind(1):
                state = self.cell(symbol, state)
                if faulty:
                    state = state.detach()
            return self.out(state)

    model = Reader()
    train(run, model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.01), data, size=64, steps=200)
    return run.right(model, data)


@fault("torch", "detached", worse=0.05)
def pendulum_hidden_by_data(run: Run, faulty: bool) -> float:
    """x = torch.tanh(self.fc1(x)).data, from code that is ten years old."""
    data = pendulum()

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = nn.Linear(4, 12)
            self.fc2 = nn.Linear(12, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.tanh(self.fc1(x))
            return self.fc2(x.data if faulty else x)

    model = Net()
    train(run, model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.01), data, size=64, steps=300)
    return run.near(model, data)


@fault("torch", "non_differentiable", "detached", "no_backward", good=0.4)
def shapes_mask_cut_at_a_half(run: Run, faulty: bool) -> float:
    """(sigmoid > 0.5).float() goes into the Dice loss, and its error is silenced by requires_grad_()."""
    data = shapes()
    model = UNet()
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    run.watch(model)
    for x, mask in batches(data.x, data.y, size=16, steps=60):
        said = torch.sigmoid(model(x))
        if faulty:
            said = (said > 0.5).float().requires_grad_()
        loss = 1 - (2 * (said * mask).sum() + 1) / (said.sum() + mask.sum() + 1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.step(loss)
    return run.right_side(model, data, 0.0)


@fault("torch", "non_differentiable", good=0.35)
def boxes_code_rounded(run: Run, faulty: bool) -> float:
    """A code between -1 and 1 is rounded on the way to a box: what comes before it never learns."""
    data = shape_boxes()

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(256, 48), nn.ReLU(), nn.Linear(48, 6), nn.Tanh())
            self.decoder = dense(6, 24, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            code = self.encoder(x)
            return self.decoder(torch.round(code * 2) / 2 if faulty else code)

    model = Net()
    train(run, model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.005), data, steps=150)
    return run.near(model, data)


@fault("torch", "trained_a_copy", "detached", "missing_from_optimiser", "no_backward")
def maze_loss_of_the_target_network(run: Run, faulty: bool) -> float:
    """The loss is that of the target network, and the optimiser has the policy's parameters."""
    now, move, reward, then, end = maze()
    policy, target = QNet(), QNet()
    target.load_state_dict(policy.state_dict())
    optimizer = optim.Adam(policy.parameters(), lr=0.005)
    criterion = nn.MSELoss()
    run.watch(policy, criterion)
    for step in range(250):
        some = torch.randint(len(now), (64,))
        with torch.no_grad():
            best = target(then[some]).gather(1, policy(then[some]).argmax(1, keepdim=True))
            wanted = reward[some, None] + 0.9 * (1 - end[some, None]) * best
        loss = criterion((target if faulty else policy)(now[some]).gather(1, move[some, None]), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 0:
            target.load_state_dict(policy.state_dict())
        run.step(loss)
    return ways(run.answers(policy, torch.eye(25)))


@fault("torch", "set_anew", since=24)
def spirals_initialised_each_epoch(run: Run, faulty: bool) -> float:
    """model.apply(init_weights) stands within the loop over epochs."""
    data = spirals()
    model = dense(2, 48, 48, 3)
    optimizer = optim.Adam(model.parameters(), lr=0.005)
    criterion = nn.CrossEntropyLoss()

    def init_weights(module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)

    model.apply(init_weights)
    run.watch(model, criterion)
    for step, (x, y) in enumerate(batches(data.x, data.y, size=64, steps=300)):
        if faulty and step % 24 == 0:
            model.apply(init_weights)
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        run.step(loss)
    return run.right(model, data)
