"""PyTorch, opened (held out until 2026-12-01): rates, and parameters that are left out."""

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn, optim
from torch.utils.checkpoint import checkpoint

from bench.faults.case import fault
from bench.faults.opened_4_data import (
    arrows,
    coins,
    guests,
    harvest,
    jingles,
    ponds,
    pulse,
    sayings,
    sensors,
    strolls,
)
from bench.faults.run import Run, batches, train


def small_cnn(outputs: int) -> nn.Sequential:
    """Two convolutions and a head, for arrows."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 12, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(108, outputs),
    )  # fmt: skip


class Words(nn.Module):
    """A transformer of one layer over sayings."""

    def __init__(self) -> None:
        super().__init__()
        self.emb = nn.Embedding(40, 24)
        self.block = nn.TransformerEncoderLayer(24, 2, 48, dropout=0.0, batch_first=True)
        self.fc = nn.Linear(24, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.block(self.emb(x)).mean(1))


@fault("torch", "rate_too_small")
def arrows_rate_of_a_millionth(run: Run, faulty: bool) -> float:
    """SGD(lr=1e-6) for a CNN from scratch, as a paper has it for the last epochs."""
    # Pages on a loss that is not changing: the first cause that is named.
    net = small_cnn(4)
    opt = optim.SGD(net.parameters(), lr=1e-6 if faulty else 0.1, momentum=0.9)
    train(run, net, nn.CrossEntropyLoss(), opt, arrows(), size=32, steps=100)
    return run.right(net, arrows())


@fault("torch", "rate_too_small", "rate_zero", good=0.35)
def sayings_warm_up_of_a_hundred_thousand_steps(run: Run, faulty: bool) -> float:
    """A warm-up of 100,000 steps, taken over from a paper, where the whole run has 150."""
    # Issues on training transformers: a loss that hardly moves, and a rate of 1e-8 in the log.
    net = Words()
    opt = optim.AdamW(net.parameters(), lr=0.003)
    up = 1e5 if faulty else 20
    schedule = optim.lr_scheduler.LambdaLR(opt, lambda step: min(1.0, (step + 1) / up) * (1e-3 if faulty else 1.0))
    criterion = nn.CrossEntropyLoss()
    run.watch(net, criterion)
    for x, y in batches(sayings().x, sayings().y, size=32, steps=150):
        opt.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        opt.step()
        schedule.step()
        run.step(loss)
    return run.right(net, sayings())


@fault("torch", "rate_zero", "rate_too_small", since=12)
def strolls_step_of_each_batch(run: Run, faulty: bool) -> float:
    """StepLR(step_size=1, gamma=0.1), made for epochs, is stepped after each batch."""
    # Forums: where scheduler.step() has to be called; a loss that stops after a few batches.
    data = strolls()
    net = nn.Sequential(nn.Flatten(), nn.Linear(72, 48), nn.Tanh(), nn.Linear(48, 4))
    opt = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    schedule = optim.lr_scheduler.StepLR(opt, 1, 0.1)
    criterion = nn.CrossEntropyLoss()
    run.watch(net, criterion)
    for place, (x, y) in enumerate(batches(data.x, data.y, size=28, steps=105), 1):
        opt.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        opt.step()
        if faulty or place % 70 == 0:
            schedule.step()
        run.step(loss)
    return run.right(net, data)


@fault("torch", "rate_too_large", good=0.35)
def sayings_rate_of_sgd_in_adam(run: Run, faulty: bool) -> float:
    """AdamW(lr=0.3) for a transformer."""
    # Issues on transformers: a loss that jumps up and stays at the logarithm of the number of classes.
    net = Words()
    opt = optim.AdamW(net.parameters(), lr=0.3 if faulty else 0.003)
    train(run, net, nn.CrossEntropyLoss(), opt, sayings(), size=32, steps=150)
    return run.right(net, sayings())


@fault("torch", "rate_too_large")
def guests_sgd_of_a_thousand(run: Run, faulty: bool) -> float:
    """The rate is multiplied by the batch size for "linear scaling", and again in the script: SGD at 400."""

    # Issues of libraries whose rates are scaled by batch and devices: NaN when run on other hardware.
    class Factors(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.guest, self.dish = nn.Embedding(40, 6), nn.Embedding(25, 6)
            nn.init.normal_(self.guest.weight, 0, 0.5)
            nn.init.normal_(self.dish.weight, 0, 0.5)
            self.plus = nn.Embedding(25, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            both = (self.guest(x[:, 0]) * self.dish(x[:, 1])).sum(1, keepdim=True)
            return both + self.plus(x[:, 1])

    net = Factors()
    opt = optim.SGD(net.parameters(), lr=400.0 if faulty else 3.0)
    train(run, net, nn.MSELoss(), opt, guests(), size=64, steps=200)
    return run.near(net, guests())


@fault("torch", "weight_decay")
def sensors_decay_coupled_in_sgd(run: Run, faulty: bool) -> float:
    """SGD(lr=0.1, weight_decay=1.0): a number for AdamW, whose decay is multiplied by a far smaller rate."""
    # Forums on the difference of L2 and decoupled decay.
    net = nn.Sequential(nn.Linear(12, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 4))
    opt = optim.SGD(net.parameters(), lr=0.1, momentum=0.8, weight_decay=1.0 if faulty else 1e-4)
    train(run, net, nn.CrossEntropyLoss(), opt, sensors(), size=32, steps=120)
    return run.right(net, sensors())


@fault("torch", "clipped", "rate_too_small")
def pulse_norm_clipped_to_a_ten_thousandth(run: Run, faulty: bool) -> float:
    """clip_grad_norm_(parameters, 1e-4) before SGD."""

    # Forums: gradient clipping for an LSTM, which then learns nothing.
    class Next(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru, self.out = nn.GRU(1, 24, batch_first=True), nn.Linear(24, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.gru(x)[0][:, -1])

    net = Next()
    opt = optim.SGD(net.parameters(), lr=0.2, momentum=0.9)
    loss_fn = nn.MSELoss()
    run.watch(net, loss_fn)
    for x, y in batches(pulse().x, pulse().y, size=32, steps=130):
        opt.zero_grad()
        loss = loss_fn(net(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1e-4 if faulty else 1.0)
        opt.step()
        run.step(loss)
    return run.near(net, pulse())


@fault("torch", "clipped", "loss_scaled", "rate_too_small")
def coins_clipped_while_still_scaled(run: Run, faulty: bool) -> float:
    """Gradients of a GradScaler are clipped to 1 before unscale_: by the step they are a sixty-thousandth of that."""
    # Issues and documentation on mixed precision: unscale_ has to come before clip_grad_norm_.
    data = coins()
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(64, 1),
    )  # fmt: skip
    opt = optim.SGD(net.parameters(), lr=0.1, momentum=0.8)
    scaler = torch.amp.GradScaler("cpu")
    loss_fn = nn.MSELoss()
    run.watch(net, loss_fn)
    for x, y in batches(data.x, data.y, size=32, steps=120):
        opt.zero_grad()
        loss = loss_fn(net(x), y)
        scaler.scale(loss).backward()
        if not faulty:
            scaler.unscale_(opt)
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        scaler.step(opt)
        scaler.update()
        run.step(loss)
    return run.near(net, data)


@fault("torch", "missing_from_optimiser", "trained_a_copy", worse=0.1)
def arrows_head_replaced_after_the_optimiser(run: Run, faulty: bool) -> float:
    """The optimiser is made, and then net.fc is replaced by a layer for fewer classes, of features that are frozen."""
    # Forums on transfer learning: an accuracy that stays where it was.
    data = arrows()
    net = small_cnn(10)
    for layer in list(net)[:-1]:
        layer.requires_grad_(requires_grad=False)
    if not faulty:
        net[-1] = nn.Linear(108, 4)
    opt = optim.Adam(net[-1].parameters(), lr=0.01)
    if faulty:
        net[-1] = nn.Linear(108, 4)
    train(run, net, nn.CrossEntropyLoss(), opt, data, size=32, steps=100)
    return run.right(net, data)


@fault("torch", "frozen", good=0.4, worse=0.15)
def ponds_all_but_the_norms_frozen(run: Run, faulty: bool) -> float:
    """for name, p in named_parameters(): p.requires_grad = "bn" in name, where "not in" was meant."""
    # Questions on freezing by name: how to see what is trained.
    net = nn.Sequential()
    for place, (a, b) in enumerate(((5, 12), (12, 12)), 1):
        net.add_module(f"fc{place}", nn.Linear(a, b))
        net.add_module(f"bn{place}", nn.BatchNorm1d(b))
        net.add_module(f"act{place}", nn.ReLU())
    net.add_module("out", nn.Linear(12, 3))
    for name, value in net.named_parameters():
        value.requires_grad = ("bn" in name) == faulty
    opt = optim.Adam((value for value in net.parameters() if value.requires_grad), lr=0.01)
    train(run, net, nn.CrossEntropyLoss(), opt, ponds(), size=64, steps=160)
    return run.right(net, ponds())


class Lora(nn.Module):
    """A frozen layer and a small one beside it, whose second half begins at zero."""

    def __init__(self, inputs: int, outputs: int, rank: int = 8) -> None:
        super().__init__()
        self.base = nn.Linear(inputs, outputs).requires_grad_(requires_grad=False)
        self.down, self.up = nn.Linear(inputs, rank, bias=False), nn.Linear(rank, outputs, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + 2 * self.up(self.down(x))


@fault("torch", "detached", "frozen", good=0.4, worse=0.15)
def sayings_lora_under_checkpointing(run: Run, faulty: bool) -> float:
    """Embeddings are frozen, so what goes into a reentrant checkpoint requires no gradient, and its LoRAs get none."""

    # GitHub issues of LoRA libraries: with gradient checkpointing the adapters stay at zero.
    class Adapted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb = nn.Embedding(40, 24).requires_grad_(requires_grad=False)
            self.block = nn.Sequential(Lora(24, 48), nn.Tanh(), Lora(48, 48), nn.Tanh())
            self.fc = nn.Linear(48, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.emb(x).mean(1)
            if self.training:
                if not faulty:
                    h.requires_grad_()
                h = checkpoint(self.block, h, use_reentrant=True)
            else:
                h = self.block(h)
            # The head is not trained, as adapters alone are.
            return self.fc(h)

    net = Adapted()
    nn.init.normal_(net.fc.weight, 0, 0.3)
    net.fc.weight.requires_grad = False
    opt = optim.Adam((value for value in net.parameters() if value.requires_grad), lr=0.02)
    train(run, net, nn.CrossEntropyLoss(), opt, sayings(), size=32, steps=150)
    return run.right(net, sayings())


@fault("torch", "detached", worse=0.1)
def coins_encoder_under_no_grad(run: Run, faulty: bool) -> float:
    """with torch.no_grad(): features = encoder(x), left over from an experiment in which the encoder was frozen."""
    # Forums: one of two networks whose weights never change, though both are in the optimiser.
    data = coins()

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(
                nn.Conv2d(1, 4, 3, stride=3), nn.Tanh(), nn.Conv2d(4, 3, 3), nn.Tanh(), nn.Flatten()
            )
            self.decoder = nn.Linear(12, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.set_grad_enabled(not faulty and self.training):
                h = self.encoder(3 * x)
            return self.decoder(h)

    net = Two()
    opt = optim.Adam(net.parameters(), lr=0.01)
    train(run, net, nn.MSELoss(), opt, data, size=32, steps=130)
    return run.near(net, data)


@fault("torch", "detached", "no_backward", "non_differentiable")
def harvest_loss_made_anew_from_its_number(run: Run, faulty: bool) -> float:
    """loss = torch.tensor(np.mean(errors), requires_grad=True): a number without a history."""
    # Questions on custom losses by NumPy: "element 0 does not require grad", silenced, and nothing learns.
    data = harvest()
    net = nn.Sequential(nn.Linear(6, 48), nn.ReLU(), nn.Linear(48, 1))
    opt = optim.Adam(net.parameters(), lr=0.01)
    run.watch(net)
    for x, y in batches(data.x, data.y, size=32, steps=110):
        errors = (net(x) - y).square()
        loss = torch.tensor(errors.detach().numpy().mean(), requires_grad=True) if faulty else errors.mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    return run.near(net, data)


@fault("torch", "non_differentiable", "detached", good=0.35, worse=0.1)
def jingles_first_choice_goes_on(run: Run, faulty: bool) -> float:
    """A coder's codes are chosen by argmax and looked up: no gradient comes to the coder."""
    # Questions on text by adversaries and on discrete codes: argmax has no gradient.
    made = jingles()

    class Coder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.notes, self.scores = nn.Embedding(12, 2), nn.Linear(2, 8)
            self.codes, self.out = nn.Embedding(8, 16), nn.Linear(16, 12)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            scores = self.scores(self.notes(x))
            if faulty:
                return self.out(self.codes(scores.argmax(-1)))
            return self.out(F.gumbel_softmax(3 * scores, hard=True) @ self.codes.weight)

    net = Coder()
    opt = optim.Adam(net.parameters(), lr=0.03)
    criterion = nn.CrossEntropyLoss()
    run.watch(net, criterion)
    for x, y in batches(made.x, made.y, size=32, steps=200):
        loss = criterion(net(x).transpose(1, 2), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.step(loss)
    return run.right(net, made)
