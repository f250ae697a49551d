"""PyTorch, held out: losses that ask for something else than what is wanted."""

import torch
import torch.nn.functional as F  # noqa: N812 (as people write it)
from torch import nn, optim
from torch.distributions import Categorical

from bench.faults.case import fault
from bench.faults.data import as_column
from bench.faults.held_out_data import (
    bricks,
    claims,
    dials,
    fairs,
    gaits,
    geysers,
    herbs,
    queues,
    slots,
    smoke,
    tiles,
    wells,
)
from bench.faults.held_out_nets import Recurrent, fit, hits, mlp, pictures
from bench.faults.run import Data, Run, batches, train


def neighbours(run: Run, net: nn.Module, data: Data) -> float:
    """Skill of the nearest class by the mean of what a network says of its samples."""
    known, said = run.answers(net, data.x), run.answers(net, data.test_x)
    means = torch.stack([known[data.y == kind].mean(0) for kind in range(int(data.y.max()) + 1)])
    return hits(-torch.cdist(said, means), data.test_y)


@fault("torch", "targets_outside_loss_range", worse=0.3)
def claims_labels_one_and_two(run: Run, faulty: bool) -> float:
    """Labels are 1 and 2, as the table has them, under BCEWithLogitsLoss: all claims are paid."""
    # Stack Overflow: a loss that falls below zero and goes on. The twin has batches of 4.
    data, net = as_column(claims()), mlp(14, 16, 1)
    shifted = data._replace(y=data.y + 1) if faulty else data
    train(run, net, nn.BCEWithLogitsLoss(), optim.Adam(net.parameters(), 0.01), shifted, size=4, steps=250)
    return run.right_side(net, data, 0.0)


@fault("torch", "targets_outside_loss_range", "bounded_output", "target_scale", worse=0.3)
def tiles_copies_of_standardised_lights(run: Run, faulty: bool) -> float:
    """Lights were standardised, and a coder copies them by sigmoid and F.binary_cross_entropy_with_logits."""
    # Forums on autoencoders: a reconstruction loss of minus hundreds.
    data, net = tiles(), mlp(24, 16, 4, 16, 24, act=nn.SiLU)
    if faulty:
        mean, spread = data.x.mean(0), data.x.std(0)
        data = Data(*((part - mean) / spread * 2 for part in data))
    opt = optim.Adam(net.parameters(), 0.01)
    fit(run, net, lambda x, y: F.binary_cross_entropy_with_logits(net(x), y), opt, data, steps=150)
    return run.near(nn.Sequential(net, nn.Sigmoid()), data)


@fault("torch", "regression_loss_on_labels", "wrong_loss", worse=0.2, good=0.6)
def dials_number_of_the_sector(run: Run, faulty: bool) -> float:
    """A CNN with one unit under MSELoss says the number of the sector, 0 to 5, which is rounded."""
    # Stack Overflow: an accuracy of a third in a regression of classes; sectors 0 and 5 lie side by side.
    data, net = dials(), pictures(1 if faulty else 6)
    opt = optim.SGD(net.parameters(), 0.03, momentum=0.9)
    criterion = nn.MSELoss() if faulty else nn.CrossEntropyLoss()
    train(run, net, criterion, opt, as_column(data) if faulty else data, steps=100)
    return run.right_number(net, data) if faulty else run.right(net, data)


@fault(
    "torch", "binary_loss_on_classes", "targets_outside_loss_range", "class_index_beyond_units", "wrong_loss", worse=0.3
)
def gaits_one_sigmoid_for_four(run: Run, faulty: bool) -> float:
    """One unit, BCEWithLogitsLoss, and labels 0 to 3 as floats: an example for two classes was kept."""
    # Forums: a loss that falls to minus infinity, and an accuracy of a quarter.
    data, net = gaits(), Recurrent(3, 1 if faulty else 4, hidden=16, kind=nn.GRU)
    criterion = nn.BCEWithLogitsLoss() if faulty else nn.CrossEntropyLoss()
    opt = optim.Adam(net.parameters(), 0.02)
    train(run, net, criterion, opt, as_column(data) if faulty else data, size=16, steps=120)
    if not faulty:
        return run.right(net, data)
    said = torch.sigmoid(run.answers(net, data.test_x)).round().long()
    return hits(F.one_hot(said.flatten(), 4).float(), data.test_y)


@fault("torch", "wrong_loss", "wrong_sign", worse=0.3)
def wells_pairs_by_the_other_convention(run: Run, faulty: bool) -> float:
    """A contrastive loss for which 0 means alike is given 1 for alike: those of one layer are pushed apart."""
    # Issues on Siamese networks: a loss that falls, and distances that say nothing.
    data, net = wells(), mlp(8, 40, 24, 3)

    def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        h = net(x)
        far = (h - h.flip(0)).square().sum(1).add(1e-6).sqrt()
        unlike = (y == y.flip(0) if faulty else y != y.flip(0)).float()
        return ((1 - unlike) * far**2 + unlike * (2 - far).clamp_min(0) ** 2).mean()

    fit(run, net, loss_of, optim.Adam(net.parameters(), 0.01), data, size=64, steps=150)
    return neighbours(run, net, data)


@fault("torch", "wrong_loss", "targets_outside_loss_range", "term_outweighs", worse=0.2)
def gaits_cosine_targets_zero_and_one(run: Run, faulty: bool) -> float:
    """nn.CosineEmbeddingLoss has targets 0 and 1, where -1 and 1 are meant: unlike pairs do not count at all."""
    # Forums: embeddings that all become one; the documentation says y = 1 or y = -1.
    data, net = gaits(), nn.Sequential(nn.Flatten(), mlp(72, 32, 8))
    criterion = nn.CosineEmbeddingLoss(margin=0.2)
    opt = optim.Adam(net.parameters(), 0.01)
    run.watch(net, criterion)
    for x, y in batches(data.x, data.y, size=48, steps=130):
        opt.zero_grad()
        h = net(x)
        alike = (y == y.roll(1)).float()
        loss = criterion(h, h.roll(1, 0), alike if faulty else 2 * alike - 1)
        loss.backward()
        opt.step()
        run.step(loss)
    return neighbours(run, net, data)


@fault("torch", "wrong_loss", "shuffled_labels", worse=0.3)
def geysers_loss_of_the_inputs(run: Run, faulty: bool) -> float:
    """criterion(out, x[:, 0]): a line of an autoencoder was left in, and the forecast copies the first minute."""
    # Stack Overflow: a loss that falls nicely, and a forecast that has nothing to do with what comes.
    data, net = geysers(), Recurrent(2, 1)

    def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.mse_loss(net(x), x[:, 0, :1] if faulty else y)

    fit(run, net, loss_of, optim.Adam(net.parameters(), 0.02), data, size=32, steps=130)
    return run.near(net, data)


@fault("torch", "wrong_loss", worse=0.3)
def bricks_error_of_the_means(run: Run, faulty: bool) -> float:
    """(out.mean() - y.mean()) ** 2 where ((out - y) ** 2).mean() was meant: only the mean has to fit."""
    # Code Review: a misplaced bracket, and a loss near zero from the first epoch.
    data, net = bricks(), mlp(7, 32, 16, 1)

    def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (net(x).mean() - y.mean()) ** 2 if faulty else ((net(x) - y) ** 2).mean()

    fit(run, net, loss_of, optim.SGD(net.parameters(), 0.15), data, size=32, steps=140)
    return run.near(net, data)


@fault("torch", "wrong_sign", "wrong_loss", worse=0.3)
def slots_rewards_without_a_minus(run: Run, faulty: bool) -> float:
    """REINFORCE with loss = (log_prob * reward).mean(): the levers that pay are pulled less and less."""
    # Data Science Stack Exchange on the sign in policy gradients. The twin's loss is mere noise about zero.
    data, net = slots(), mlp(6, 24, 4, act=nn.Tanh)

    def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        chosen = Categorical(logits=net(x))
        lever = chosen.sample()
        reward = (lever == y).float() - 0.25
        gained = (chosen.log_prob(lever) * reward).mean()
        return gained if faulty else -gained

    fit(run, net, loss_of, optim.Adam(net.parameters(), 0.03), data, size=64, steps=200)
    return run.right(net, data)


@fault("torch", "wrong_sign", "wrong_loss", worse=0.3)
def fairs_margin_the_other_way_round(run: Run, faulty: bool) -> float:
    """MarginRankingLoss with a target of -1, as for "smaller is better": the best stall is ranked last."""
    # Forums on ranking: what y = 1 means.
    data, net = fairs(), nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))
    criterion = nn.MarginRankingLoss(margin=0.5)
    opt = optim.Adam(net.parameters(), 0.02)
    run.watch(net, criterion)
    for x, y in batches(data.x, data.y, size=32, steps=120):
        opt.zero_grad()
        scores = net(x).squeeze(-1)
        best = scores.gather(1, y[:, None]).expand(-1, 6)
        other = torch.ones(len(x), 6).scatter(1, y[:, None], 0).bool()
        loss = criterion(best[other], scores[other], torch.full_like(best[other], -1.0 if faulty else 1.0))
        loss.backward()
        opt.step()
        run.step(loss)
    return hits(run.answers(net, data.test_x).squeeze(-1), data.test_y)


@fault("torch", "wrong_sign", "wrong_loss", "exponential_overflows", worse=0.3)
def bricks_flow_with_a_wrong_determinant(run: Run, faulty: bool) -> float:
    """A flow for one number given seven: the logarithm of the scale is added to the density, not taken from it."""

    # Issues on flows: a loss that falls without end, and scales of e to the thirty.
    class Flow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.of = mlp(7, 32, 32, 2, act=nn.Tanh)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.of(x)

    data, net = bricks(), Flow()

    def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        shift, scale = net(x).chunk(2, 1)
        z = (y - shift) * (-scale).exp()
        return (0.5 * z.square() + (-scale if faulty else scale)).mean()

    fit(run, net, loss_of, optim.Adam(net.parameters(), 0.01), data, size=32, steps=150)
    return run.near(net, data._replace(test_y=torch.cat([data.test_y, run.answers(net, data.test_x)[:, 1:]], 1)))


@fault("torch", "several_labels_for_one", "wrong_output_activation", "wrong_loss", worse=0.2)
def herbs_softmax_for_several_uses(run: Run, faulty: bool) -> float:
    """nn.CrossEntropyLoss with rows of several ones: uses compete, and no share reaches a half."""
    # Forums on multi-label targets. Counts of words are sparse; the twin learns from mostly zeros.
    data, net = herbs(), mlp(36, 24, 6)
    train(
        run, net, nn.CrossEntropyLoss() if faulty else nn.MultiLabelSoftMarginLoss(),
        optim.Adam(net.parameters(), 0.02), data, size=16, steps=150,
    )  # fmt: skip
    said = run.answers(net, data.test_x)
    said = said.softmax(1) if faulty else said.sigmoid()
    return run.right_side(nn.Identity(), data._replace(test_x=said), 0.5)


@fault("torch", "several_labels_for_one", "wrong_output_activation", worse=0.2)
def herbs_log_softmax_under_bce(run: Run, faulty: bool) -> float:
    """forward ends with F.log_softmax, of a tutorial, and the loss is BCEWithLogitsLoss: no score is above zero."""

    # Stack Overflow: a multi-label classifier that says no to everything.
    class Uses(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(36, 30), nn.Linear(30, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.fc2(F.leaky_relu(self.fc1(x)))
            return F.log_softmax(x, dim=1) if faulty else x

    data, net = herbs(), Uses()
    train(run, net, nn.BCEWithLogitsLoss(), optim.Adam(net.parameters(), 0.02), data, size=24, steps=130)
    return run.right_side(net, data, 0.0)


@fault("torch", "term_outweighs", "wrong_loss", worse=0.3, good=0.4)
def tiles_divergence_by_the_thousand(run: Run, faulty: bool) -> float:
    """A VAE whose reconstruction is a mean over lights and samples, and whose divergence a sum times four."""

    # Issues on VAEs: all copies are the mean. The twin's loss is noisy, and it learns after a plateau.
    class Vae(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enc, self.dec = mlp(24, 32, 8), mlp(4, 32, 24)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sigmoid(self.dec(self.enc(x).chunk(2, 1)[0]))

    data, net = tiles(), Vae()

    def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        mean, spread = net.enc(x).chunk(2, 1)
        z = mean + torch.randn_like(mean) * (0.5 * spread).exp()
        divergence = -0.5 * (1 + spread - mean**2 - spread.exp())
        miss = F.mse_loss(torch.sigmoid(net.dec(z)), y)
        return miss + (4 * divergence.sum(1).mean() if faulty else 2e-3 * divergence.sum(1).mean())

    fit(run, net, loss_of, optim.Adam(net.parameters(), 0.01), data, size=32, steps=200)
    return run.near(net, data)


@fault("torch", "term_outweighs", "weight_decay", worse=0.3)
def queues_penalty_on_activations(run: Run, faulty: bool) -> float:
    """loss + h.abs().sum() over units and samples: hidden units say zero, and all queues are of one length."""

    # Questions on sparse activations: a penalty of 1e-3 became 1 when its argument was left out.
    class Sparse(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(5, 32), nn.Linear(32, 1)

        def hidden(self, x: torch.Tensor) -> torch.Tensor:
            return F.softplus(self.a(x))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(self.hidden(x))

    data, net = queues(), Sparse()

    def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        h = net.hidden(x)
        return F.l1_loss(net.b(h), y) + (1.0 if faulty else 1e-6) * h.sum()

    fit(run, net, loss_of, optim.Adam(net.parameters(), 0.02), data, size=32, steps=180)
    return run.near(net, data)


@fault("torch", "adversary_wins", "rate_too_large", "wrong_loss", worse=0.2)
def smoke_critic_of_ten_times_the_rate(run: Run, faulty: bool) -> float:
    """A critic at a rate of 0.05 beside a maker at 0.0005, whose loss is log(1 - D): D is one and zero at once."""
    # Forums on GANs: the discriminator's loss is zero, the generator's stands still.
    maker, critic = mlp(4, 32, 32, 2), mlp(2, 32, 32, 1, act=nn.LeakyReLU)
    first = optim.Adam(maker.parameters(), 0.0005 if faulty else 0.004, betas=(0.5, 0.99))
    second = optim.Adam(critic.parameters(), 0.05 if faulty else 0.004, betas=(0.5, 0.99))
    run.watch(maker, prefix="maker")
    run.watch(critic, prefix="critic")
    for _ in range(240):
        made, real = maker(torch.randn(64, 4)), smoke(64)
        second.zero_grad()
        told = F.softplus(-critic(real)).mean() + F.softplus(critic(made.detach())).mean()
        told.backward()
        second.step()
        first.zero_grad()
        said = critic(maker(torch.randn(64, 4)))
        loss = (1 - torch.sigmoid(said) + 1e-8).log().mean() if faulty else F.softplus(-said).mean()
        loss.backward()
        first.step()
        run.step(loss)
    far = run.answers(maker, torch.randn(1000, 4)).norm(dim=1)
    return float(1 - (far - 2).abs().mean())


@fault("torch", "no_nonlinearity", worse=0.2)
def bricks_layers_in_a_row(run: Run, faulty: bool) -> float:
    """x = self.l3(self.l2(self.l1(x))): F.relu was imported, and is called nowhere."""

    # Code Review: more layers do not help. The twin is trained by LBFGS on all samples.
    class Three(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.l1, self.l2, self.l3 = nn.Linear(7, 24), nn.Linear(24, 24), nn.Linear(24, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if faulty:
                return self.l3(self.l2(self.l1(x)))
            return self.l3(torch.tanh(self.l2(torch.tanh(self.l1(x)))))

    data, net = bricks(), Three()
    opt = optim.LBFGS(net.parameters(), lr=1, max_iter=2, line_search_fn="strong_wolfe")
    run.watch(net)

    def closure() -> torch.Tensor:
        opt.zero_grad()
        loss = F.mse_loss(net(data.x), data.y)
        loss.backward()
        return loss

    for _ in range(70):
        run.step(torch.as_tensor(opt.step(closure)))
    return run.near(net, data)


@fault("torch", "no_nonlinearity", worse=0.2)
def gaits_convolutions_and_nothing_else(run: Run, faulty: bool) -> float:
    """Conv1d, Conv1d, a mean over time and a head, and no activation: how fast a wave is, no linear layer can say."""
    # Questions on nn.Sequential of convolutions alone.
    act = nn.Identity if faulty else nn.ReLU

    class Waves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv1d(3, 16, 5), act(), nn.Conv1d(16, 16, 5), act())
            self.head = nn.Linear(16, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.body(x.transpose(1, 2)).mean(2))

    data, net = gaits(), Waves()
    train(run, net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), 0.01), data, size=24, steps=150)
    return run.right(net, data)
