"""Held out: the usual training of the seventh part, with a mistake in its loop."""

from typing import Final

import torch
from torch import nn

from bench.zoo.programs.program import Supervised

__all__ = [
    "KINDS", "AveragedIn", "BeginsAnew", "ClassByClass", "HeadAlone", "InPence", "MixedUp", "ReadsRaw", "StepsDown",
]  # fmt: skip


class ReadsRaw(Supervised):
    """What is validated is not normalised as what is trained on: another loader reads it."""

    def check(self) -> None:
        """The loss of raw test samples, in evaluation mode."""
        usual = self.training.feed
        self.training.feed = lambda x: 25.0 * x + 12.0
        super().check()
        self.training.feed = usual

    def skill(self) -> float:
        """That of the task, on raw test samples."""
        usual = self.training.feed
        self.training.feed = lambda x: 25.0 * x + 12.0
        skill = super().skill()
        self.training.feed = usual
        return skill


class BeginsAnew(Supervised):
    """All layers are set anew every twenty-five steps: the network is built within the loop over epochs."""

    def step(self, step: int) -> float:
        """One training step, at times with new weights."""
        if step and step % 25 == 0:
            for layer in self.model.modules():
                if isinstance(layer, nn.Linear | nn.Conv2d | nn.Conv1d | nn.Embedding | nn.LayerNorm | nn.BatchNorm1d):
                    layer.reset_parameters()
        return super().step(step)


class AveragedIn(Supervised):
    """From step 60 on each tenth step ends with the slowly averaged weights in the place of those that are trained."""

    kept: dict[str, torch.Tensor] | None = None

    @torch.no_grad()
    def step(self, step: int) -> float:
        """One training step, and the average's."""
        if self.kept is None:
            self.kept = {name: value.clone() for name, value in self.model.named_parameters()}
        with torch.enable_grad():
            loss = super().step(step)
        for name, value in self.model.named_parameters():
            self.kept[name].lerp_(value, 0.004)
            if step >= 60 and step % 10 == 9:
                value.copy_(self.kept[name])
        return loss


class HeadAlone(Supervised):
    """The optimiser is given the last layer's parameters alone."""

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """That of the last weights and biases."""
        made: torch.optim.Optimizer = getattr(torch.optim, self.it.optimizer)(
            list(model.parameters())[-2:], lr=self.it.rate
        )
        return made


class StepsDown(Supervised):
    """The schedule that is meant for epochs is asked after each batch, and the rate is soon next to nothing."""

    def set_rate(self, step: int) -> None:
        """Less than half of it after each step."""
        for group in self.training.optimizer.param_groups:
            group["lr"] = self.it.rate * 0.4**step


class InPence(Supervised):
    """Targets as they are stored, 4,000 times as large as they should be. Its skill: that of the task."""

    times = 4000.0

    def loss(self) -> torch.Tensor:
        """That of a random batch, of large targets."""
        x, y = self.task.train
        batch = self.draw(len(x))
        return self.task.loss(self.model(self.enter(self.training.feed(x[batch]))), self.times * y[batch])

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        x, y = self.task.test
        self.model.eval()
        skill = self.task.skill(self.model(x) / self.times, y)
        self.model.train()
        return skill


class MixedUp(Supervised):
    """Inputs were shuffled, and targets were not."""

    def loss(self) -> torch.Tensor:
        """That of a random batch, with others' targets."""
        x, y = self.task.train
        batch = self.draw(len(x))
        other = batch[torch.randperm(len(batch), generator=self.order)]
        return self.task.loss(self.model(self.enter(self.training.feed(x[batch]))), y[other])


class ClassByClass(Supervised):
    """Twelve batches in turn are of one class: the samples lie in the order of their classes."""

    turn = 0

    def draw(self, size: int) -> torch.Tensor:
        """Places of samples of one class."""
        mine = (self.task.train[1] == self.turn // 12 % self.task.outputs).nonzero()[:, 0]
        self.turn += 1
        return mine[torch.randint(len(mine), (self.it.batch,), generator=self.order)]


KINDS: Final = {
    "reads_raw": "ReadsRaw",
    "begins_anew": "BeginsAnew",
    "averaged_in": "AveragedIn",
    "head_alone": "HeadAlone",
    "steps_down": "StepsDown",
    "in_pence": "InPence",
    "mixed_up": "MixedUp",
    "class_by_class": "ClassByClass",
}
