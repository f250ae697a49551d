"""Trainings that are no plain answers to inputs: coders, codebooks, sparse features, graphs, a curriculum."""

from typing import Final

import numpy as np
import torch
from torch import nn

from bench.zoo.data import load
from bench.zoo.programs.program import Program, Supervised, explained

__all__ = ["KINDS", "Codebook", "Curriculum", "Features", "Graph", "Variational"]


def _images() -> tuple[torch.Tensor, torch.Tensor]:
    task = load("digit_copies")
    return task.train[0], task.test[0]


class VariationalNet(nn.Module):
    """enc, act, mean, logvar, dec, act2, out: its code is drawn by F-style arithmetic, without a module."""

    def __init__(self, width: int, code: int) -> None:
        super().__init__()
        self.enc = nn.Linear(64, width)
        self.act = nn.ReLU()
        self.mean = nn.Linear(width, code)
        self.logvar = nn.Linear(width, code)
        self.dec = nn.Linear(code, width)
        self.act2 = nn.ReLU()
        self.out = nn.Linear(width, 64)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Images to copies, means and logarithms of variances."""
        h = self.act(self.enc(x))
        mean, logvar = self.mean(h), self.logvar(h)
        code = mean + (0.5 * logvar).exp() * torch.randn_like(mean) if self.training else mean
        return self.out(self.act2(self.dec(code))), mean, logvar


class Variational(Program):
    """A variational autoencoder of digits. Its skill: the share of the pixels' variance that the mean code keeps."""

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: width, code, beta."""
        self.data, self.test = _images()
        self.beta = self.it.options.get("beta", 0.02)
        return VariationalNet(self.it.options.get("width", 96), self.it.options.get("code", 8))

    def loss(self) -> torch.Tensor:
        """Squared error plus beta times the divergence."""
        x = self.training.feed(self.data[self.draw(len(self.data))])
        copy, mean, logvar = self.model(x)
        divergence = 0.5 * (mean.square() + logvar.exp() - 1.0 - logvar).sum(-1).mean()
        loss: torch.Tensor = (copy - x).square().sum(-1).mean() + self.beta * divergence
        return loss

    @torch.no_grad()
    def skill(self) -> float:
        """R² of the copies of test images."""
        self.model.eval()
        return explained(self.model(self.training.feed(self.test))[0], self.test)


class CodebookNet(nn.Module):
    """enc1, act, enc2, codebook, dec1, act2, dec2: each image is four codes."""

    def __init__(self, width: int, codes: int, size: int) -> None:
        super().__init__()
        self.enc1 = nn.Linear(64, width)
        self.act = nn.ReLU()
        self.enc2 = nn.Linear(width, 4 * size)
        self.codebook = nn.Embedding(codes, size)
        self.dec1 = nn.Linear(4 * size, width)
        self.act2 = nn.ReLU()
        self.dec2 = nn.Linear(width, 64)
        self.size = size

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, 64) to (samples, 4, size)."""
        code: torch.Tensor = self.enc2(self.act(self.enc1(x))).unflatten(-1, (4, self.size))
        return code

    def nearest(self, code: torch.Tensor) -> torch.Tensor:
        """The places of the codes that lie nearest."""
        apart = torch.cdist(code.detach().flatten(0, 1), self.codebook.weight.detach())
        return apart.argmin(-1).view(-1, 4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Images to copies, codes and what they were rounded to."""
        code = self.encode(x)
        chosen = self.codebook(self.nearest(code))
        through = code + (chosen - code).detach()
        copy: torch.Tensor = self.dec2(self.act2(self.dec1(through.flatten(1))))
        return copy, code, chosen


class Codebook(Program):
    """A vector-quantised autoencoder of digits. Its skill: the lesser of R² and the share of codes in use."""

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: width, codes, size, restart (steps; 0 never), start ("data" or a deviation)."""
        options = {"width": 96, "codes": 32, "size": 8, "restart": 10, "start": "data", **self.it.options}
        self.data, self.test = _images()
        net = CodebookNet(options["width"], options["codes"], options["size"])
        self.restart = options["restart"]
        self.turn = 0
        with torch.no_grad():
            if options["start"] == "data":
                seen = net.encode(self.data).flatten(0, 1)
                net.codebook.weight.copy_(seen[torch.randperm(len(seen))[: options["codes"]]])
            else:
                net.codebook.weight.normal_(0.0, float(options["start"]))
        return net

    def loss(self) -> torch.Tensor:
        """Squared error, and what codes and encoder cost each other; now and then idle codes move to where data is."""
        net = self.model
        assert isinstance(net, CodebookNet)
        x = self.training.feed(self.data[self.draw(len(self.data))])
        copy, code, chosen = net(x)
        self.turn += 1
        if self.restart and self.turn % self.restart == 0:
            with torch.no_grad():
                seen = net.encode(self.data[:400]).flatten(0, 1)
                idle = torch.bincount(net.nearest(seen.unflatten(0, (-1, 4))).flatten(), minlength=32) == 0
                net.codebook.weight[idle] = seen[torch.randperm(len(seen))[: int(idle.sum())]]
        loss: torch.Tensor = (copy - x).square().sum(-1).mean()
        loss = loss + (chosen - code.detach()).square().sum(-1).mean()
        loss += 0.25 * (code - chosen.detach()).square().sum(-1).mean()
        return loss

    @torch.no_grad()
    def skill(self) -> float:
        """R² of copies, or the share of codes that some image chooses."""
        net = self.model
        assert isinstance(net, CodebookNet)
        net.eval()
        used = len(net.nearest(net.encode(self.data)).unique()) / net.codebook.num_embeddings
        return min(explained(net(self.test)[0], self.test), used)


class FeaturesNet(nn.Module):
    """enc, act, dec: many more features than pixels, of which few shall be active."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.enc = nn.Linear(64, features)
        self.act = nn.ReLU()
        self.dec = nn.Linear(features, 64)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Activations to copies and features."""
        features = self.act(self.enc(x))
        return self.dec(features), features


class Features(Program):
    """A sparse autoencoder of digits. Its skill: the lesser of R² and the share of features that ever fire."""

    answers_loss = False

    def build(self) -> nn.Module:
        """Options: features, penalty."""
        self.data, self.test = (part - self._mean() for part in _images())
        self.cost = self.it.options.get("penalty", 0.01)
        net = FeaturesNet(self.it.options.get("features", 192))
        with torch.no_grad():
            net.enc.weight.copy_(net.dec.weight.T)
        return net

    @staticmethod
    def _mean() -> torch.Tensor:
        return _images()[0].mean(0)

    def loss(self) -> torch.Tensor:
        """Squared error plus the sum of the features."""
        x = self.training.feed(self.data[self.draw(len(self.data))])
        copy, features = self.model(x)
        loss: torch.Tensor = (copy - x).square().sum(-1).mean() + self.cost * features.sum(-1).mean()
        return loss

    @torch.no_grad()
    def skill(self) -> float:
        """R² of copies, or the share of features that fire for some image."""
        copy, _ = self.model(self.test)
        alive = (self.model(self.data)[1] > 0).any(0).float().mean()
        return min(explained(copy, self.test), float(alive))


class GraphNet(nn.Module):
    """conv0, act0, conv1, ..., head: each node takes the mean of its neighbours, then a linear layer."""

    def __init__(self, inputs: int, outputs: int, width: int, layers: int, mean: torch.Tensor) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Linear(width if i else inputs, width) for i in range(layers))
        self.acts = nn.ModuleList(nn.Tanh() for _ in range(layers))
        self.head = nn.Linear(width, outputs)
        self.mean = mean

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(nodes, inputs) to (nodes, outputs)."""
        for conv, act in zip(self.convs, self.acts, strict=True):
            x = act(conv(self.mean @ x))
        answer: torch.Tensor = self.head(x)
        return answer


def neighbours(x: torch.Tensor, count: int) -> torch.Tensor:
    """Symmetric normalised adjacency of each sample's nearest, itself among them."""
    near = torch.cdist(x, x).topk(count + 1, largest=False).indices
    joined = torch.zeros(len(x), len(x)).scatter_(1, near, 1.0)
    joined = ((joined + joined.T) > 0).float()
    root = joined.sum(1).rsqrt()
    return root[:, None] * joined * root


class Graph(Program):
    """Which digit is a node of a graph of like digits? Its skill: that of nodes whose answers were not shown."""

    def build(self) -> nn.Module:
        """Options: width, layers, neighbours."""
        task = load("digits")
        self.task = task
        self.x, self.y = task.train[0][:400], task.train[1][:400]
        mean = neighbours(self.x, self.it.options.get("neighbours", 8))
        return GraphNet(64, 10, self.it.options.get("width", 32), self.it.options.get("layers", 2), mean)

    def loss(self) -> torch.Tensor:
        """That of the first two hundred nodes."""
        return self.task.loss(self.model(self.training.feed(self.x))[:200], self.y[:200])

    @torch.no_grad()
    def skill(self) -> float:
        """That of the others."""
        return self.task.skill(self.model(self.training.feed(self.x))[200:], self.y[200:])


class Curriculum(Supervised):
    """Classes one after the other: at first the first two alone, by two thirds of the steps all of them."""

    turn = 0

    def draw(self, size: int) -> torch.Tensor:
        """Places of samples of the classes that are open by now."""
        self.turn += 1
        classes = self.task.outputs
        most = 2 + int((classes - 2) * min(1.5 * self.turn / self.it.steps, 1.0))
        open_now = np.flatnonzero(self.task.train[1].numpy() < most)
        return torch.from_numpy(open_now)[torch.randint(len(open_now), (self.it.batch,), generator=self.order)]


KINDS: Final = {
    "variational": "Variational",
    "codebook": "Codebook",
    "features": "Features",
    "graph": "Graph",
    "curriculum": "Curriculum",
}
