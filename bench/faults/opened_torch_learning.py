"""PyTorch, opened: nothing learns, for rates, for parameters that are left out, or for what the loop does.

Held out until 2026-11-30, tuned on since.
"""

import copy

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn, optim

from bench.faults.case import fault
from bench.faults.opened_nets import Forecaster, PatchCNN, Transformer, bright
from bench.faults.run import Run, batches, tensors, train


@fault("torch", "rate_too_small", "rate_zero", good=0.25)
def module_warmup_too_long(run: Run, faulty: bool) -> float:
    """A transformer's warm-up takes a hundred thousand steps, of which sixty are made."""
    data = tensors("which_module")
    model = Transformer(3)
    optimizer = optim.AdamW(model.parameters(), lr=0.005)
    warmup = 1e5 if faulty else 5
    scheduler = optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / warmup, 1.0))
    criterion = nn.CrossEntropyLoss()
    run.watch(model, criterion)
    for x, y in batches(data.x, data.y, steps=60):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        scheduler.step()
        run.step(loss)
    return run.right(model, data)


@fault("torch", "rate_too_small")
def membrane_lstm_rate_too_small(run: Run, faulty: bool) -> float:
    """RMSprop at 1e-7 for a forecast."""
    data = tensors("membrane")
    model = Forecaster()
    train(run, model, nn.MSELoss(), optim.RMSprop(model.parameters(), lr=1e-7 if faulty else 0.005), data, steps=60)
    return run.near(model, data)


@fault("torch", "rate_too_large", good=0.25)
def module_transformer_rate_too_large(run: Run, faulty: bool) -> float:
    """AdamW at 0.5 for a transformer."""
    data = tensors("which_module")
    model = Transformer(3)
    optimizer = optim.AdamW(model.parameters(), lr=0.5 if faulty else 0.005)
    train(run, model, nn.CrossEntropyLoss(), optimizer, data, steps=60)
    return run.right(model, data)


@fault("torch", "momentum", "rate_too_large")
def wine_momentum_too_high(run: Run, faulty: bool) -> float:
    """SGD at a rate of 1 with a momentum of 0.999 and no dampening."""
    data = tensors("wine")
    model = nn.Sequential(nn.Linear(13, 16), nn.SELU(), nn.Linear(16, 16), nn.SELU(), nn.Linear(16, 3))
    optimizer = optim.SGD(model.parameters(), lr=1.0 if faulty else 0.05, momentum=0.999 if faulty else 0.9)
    train(run, model, nn.CrossEntropyLoss(), optimizer, data, size=16, steps=50)
    return run.right(model, data)


@fault("torch", "rate_zero", "rate_too_small", since=4, good=0.3)
def patch_rate_decays_to_zero_at_once(run: Run, faulty: bool) -> float:
    """LinearLR to zero over 4 iterations, which were meant as epochs."""
    data = tensors("patches")
    model = PatchCNN(3, 2)
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    scheduler = optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=4 if faulty else 100)
    criterion = nn.CrossEntropyLoss()
    run.watch(model, criterion)
    for x, y in batches(data.x, data.y, steps=60):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        scheduler.step()
        run.step(loss)
    return run.right(model, data)


@fault("torch", "weight_decay")
def shares_l1_penalty_too_strong(run: Run, faulty: bool) -> float:
    """The sum of all weights' magnitudes is added, and is far larger than the loss."""
    data = tensors("shares")
    model = nn.Sequential(nn.Linear(12, 32), nn.LeakyReLU(), nn.Linear(32, 1))
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    run.watch(model)
    for x, y in batches(data.x, data.y, size=64, steps=60):
        optimizer.zero_grad()
        size = torch.cat([parameter.flatten() for parameter in model.parameters()]).abs().sum()
        loss = F.mse_loss(model(x), y) + (1.0 if faulty else 1e-5) * size
        loss.backward()
        optimizer.step()
        run.step(loss)
    return run.near(model, data)


@fault("torch", "clipped", "loss_scaled", "rate_too_small")
def wine_clipped_to_nothing(run: Run, faulty: bool) -> float:
    """clip_grad_norm_ at 1e-5 before SGD's step."""
    data = tensors("wine")
    model = nn.Sequential(nn.Linear(13, 16), nn.SELU(), nn.Linear(16, 3))
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    criterion = nn.CrossEntropyLoss()
    run.watch(model, criterion)
    for x, y in batches(data.x, data.y, size=16, steps=60):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1e-5 if faulty else 1.0)
        optimizer.step()
        run.step(loss)
    return run.right(model, data)


@fault("torch", "loss_scaled", "rate_too_large", good=0.3)
def portrait_summed_loss(run: Run, faulty: bool) -> float:
    """MSELoss(reduction="sum") over a batch of 64 images of 100 pixels, with a rate that suits the mean."""
    data = tensors("portrait")
    model = nn.Sequential(nn.Linear(100, 32), nn.ELU(), nn.Linear(32, 100))
    criterion = nn.MSELoss(reduction="sum" if faulty else "mean")
    train(run, model, criterion, optim.SGD(model.parameters(), lr=1.0), data, size=64, steps=60)
    return run.near(model, data)


class Branches(nn.Module):
    """An encoder, and heads in a dict."""

    def __init__(self, *, faulty: bool) -> None:
        super().__init__()
        self.names = nn.Linear(4, 3)
        heads = {"width": nn.Linear(3, 6), "depth": nn.Linear(6, 3)}
        self.heads = heads if faulty else nn.ModuleDict(heads)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.heads["depth"](F.leaky_relu(self.heads["width"](torch.tanh(self.names(x)))))


@fault("torch", "missing_from_optimiser", worse=None)
def iris_heads_in_a_dict(run: Run, faulty: bool) -> float:
    """Two layers are in a plain dict, not a ModuleDict."""
    data = tensors("iris")
    model = Branches(faulty=faulty)
    train(run, model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.03), data, size=16, steps=60)
    return run.right(model, data)


@fault("torch", "missing_from_optimiser", good=0.3, worse=0.1)
def portrait_decoder_missing_from_optimiser(run: Run, faulty: bool) -> float:
    """The optimiser of an autoencoder has the encoder's parameters only."""
    data = tensors("portrait")
    encoder = nn.Sequential(nn.Linear(100, 32), nn.ELU())
    decoder = nn.Linear(32, 100)
    model = nn.Sequential(encoder, decoder)
    parameters = encoder.parameters() if faulty else model.parameters()
    train(run, model, nn.MSELoss(), optim.Adam(parameters, lr=0.01), data, size=64, steps=60)
    return run.near(model, data)


@fault("torch", "frozen")
def mail_random_embedding_frozen(run: Run, faulty: bool) -> float:
    """nn.Embedding.from_pretrained of vectors that nobody trained, which freezes them."""
    data = tensors("words")

    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding.from_pretrained(torch.randn(1501, 8), freeze=faulty)
            self.out = nn.Linear(8, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.words(x).mean(1))

    model = Bag()
    wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
    train(run, model, nn.CrossEntropyLoss(), optim.Adam(wanted, lr=0.05), data, size=64, steps=60)
    return run.right(model, data)


@fault("torch", "detached", "frozen", good=0.25, worse=0.1)
def module_encoder_under_no_grad(run: Run, faulty: bool) -> float:
    """A transformer's block runs under torch.no_grad, left over from an evaluation."""
    data = tensors("which_module")

    class Classifier(Transformer):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.set_grad_enabled(not faulty and torch.is_grad_enabled()):
                states = self.block(self.embed(x) + self.place[: x.shape[1]])
            return self.head(self.norm(states).mean(1))

    model = Classifier(3)
    train(run, model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.005), data, steps=60)
    return run.right(model, data)


@fault("torch", "detached", good=0.3)
def patch_through_numpy(run: Run, faulty: bool) -> float:
    """Features go through NumPy for a standardisation, and come back without a graph."""
    data = tensors("patches")

    class Net(PatchCNN):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            features = self.body(self.stem(x)).mean((2, 3))
            if faulty:
                features = torch.from_numpy(features.detach().numpy())
            features = (features - features.mean(0)) / (features.std(0) + 1e-5)
            return self.head(features[:, :3])

    model = Net(3, 2)
    model.head = nn.Linear(3, 2)
    train(run, model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.02), data, steps=60)
    return run.right(model, data)


@fault("torch", "non_differentiable", conditions="constant")
def wine_rounded_scores(run: Run, faulty: bool) -> float:
    """The scores are rounded before the loss."""
    data = tensors("wine")

    class Rounded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Linear(13, 16)
            self.out = nn.Linear(16, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            scores = self.out(F.selu(self.hidden(x)))
            return torch.round(scores) if faulty else scores

    model = Rounded()
    train(run, model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.02), data, size=16)
    return run.right(model, data)


@fault("torch", "non_differentiable", worse=None)
def fault_line_hard_gates(run: Run, faulty: bool) -> float:
    """Gates are (x > 0).float(), through which no gradient goes, in place of a sigmoid."""
    data = tensors("fault_line")

    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate = nn.Linear(14, 48)
            self.out = nn.Linear(48, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            gate = self.gate(x)
            return self.out((gate > 0).float() if faulty else torch.sigmoid(gate))

    model = Gated()
    train(run, model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.05), data, size=256, steps=60)
    return run.near(model, data)


@fault("torch", "trained_a_copy", "no_step", "frozen")
def iris_optimiser_of_a_copy(run: Run, faulty: bool) -> float:
    """The optimiser was made for a deep copy, kept as the best model so far."""
    data = tensors("iris")
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
    best = copy.deepcopy(model)
    optimizer = optim.Adam((best if faulty else model).parameters(), lr=0.03)
    train(run, model, nn.CrossEntropyLoss(), optimizer, data, size=16)
    return run.right(model, data)


@fault("torch", "set_anew", "trained_a_copy", "no_step", good=0.3)
def mask_weights_restored_each_step(run: Run, faulty: bool) -> float:
    """The best weights are loaded again after each step, and the best are for ever the first."""
    data = bright()
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1))
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    criterion = nn.BCEWithLogitsLoss()
    best, least = copy.deepcopy(model.state_dict()), 0.0
    run.watch(model, criterion)
    for x, y in batches(data.x, data.y):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        if float(loss) < least:
            best, least = copy.deepcopy(model.state_dict()), float(loss)
        if faulty:
            model.load_state_dict(best)
        run.step(loss)
    return run.right_side(model, data, 0.0)


@fault("torch", "no_zero_grad")
def membrane_without_zero_grad(run: Run, faulty: bool) -> float:
    """An LSTM's gradients are never cleared."""
    data = tensors("membrane")
    model = Forecaster()
    optimizer = optim.SGD(model.parameters(), lr=0.3)
    criterion = nn.MSELoss()
    run.watch(model, criterion)
    for x, y in batches(data.x, data.y, steps=60):
        if not faulty:
            optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        run.step(loss)
    return run.near(model, data)


@fault("torch", "gradients_cleared", good=0.3)
def patch_cleared_by_the_model(run: Run, faulty: bool) -> float:
    """model.zero_grad() after backward: gradients are None when the optimiser looks."""
    data = tensors("patches")
    model = PatchCNN(3, 2)
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    criterion = nn.CrossEntropyLoss()
    run.watch(model, criterion)
    for x, y in batches(data.x, data.y, steps=60):
        loss = criterion(model(x), y)
        if not faulty:
            model.zero_grad()
        loss.backward()
        if faulty:
            model.zero_grad()
        optimizer.step()
        run.step(loss)
    return run.right(model, data)


@fault("torch", "no_step")
def shares_steps_the_scheduler_only(run: Run, faulty: bool) -> float:
    """scheduler.step() stands where optimizer.step() should."""
    data = tensors("shares")
    model = nn.Sequential(nn.Linear(12, 32), nn.LeakyReLU(), nn.Linear(32, 1))
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    scheduler = optim.lr_scheduler.StepLR(optimizer, 1000)
    run.watch(model)
    for x, y in batches(data.x, data.y, size=64, steps=60):
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        if not faulty:
            optimizer.step()
        scheduler.step()
        run.step(loss)
    return run.near(model, data)


@fault("torch", "dropout", good=0.25, worse=0.1)
def module_dropout_too_high(run: Run, faulty: bool) -> float:
    """A transformer with a dropout of 0.99, where 0.01 was meant."""
    data = tensors("which_module")

    class Dropped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop = nn.Dropout(0.99 if faulty else 0.01)
            self.body = Transformer(32)
            self.out = nn.Linear(32, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.drop(self.body(x)))

    model = Dropped()
    train(run, model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.005), data, steps=60)
    return run.right(model, data)


@fault("torch", "norm_in_eval", "unscaled_inputs", "unequal_features", conditions="dead outlier_channels")
def wine_norm_left_in_evaluation(run: Run, faulty: bool) -> float:
    """A BatchNorm is to scale raw features, and model.eval() was called for a first look at the accuracy."""
    data = tensors("wine_raw")
    model = nn.Sequential(nn.BatchNorm1d(13), nn.Linear(13, 16), nn.SELU(), nn.Linear(16, 3))
    if faulty:
        model.eval()
    train(run, model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1), data, size=16, steps=60)
    return run.right(model, data)
