"""What every training of the zoo has in common, and the usual one: a network that learns answers."""

import math
from collections.abc import Callable

import torch
from torch import nn

from bench.zoo.data import Task, load
from bench.zoo.faults import Training
from bench.zoo.nets import NETS
from bench.zoo.recipes.table import Network

__all__ = ["Program", "Routed", "Supervised", "explained", "spread_of"]


class Program:
    """A network, its data and its training.

    Args:
        it: what the recipe says of it.
        seed: of its weights and its order of samples.

    Attributes:
        training: what faults can change.
        order: the random numbers of batches.
        answers_loss: whether the loss of a healthy run and a sick one can be compared; else only the skill tells harm.
    """

    answers_loss = True

    def __init__(self, it: Network, seed: int) -> None:
        self.it = it
        torch.manual_seed(seed)
        self.order = torch.Generator().manual_seed(1000 + seed)
        model = self.build()
        if it.precision == "half":
            model = model.half()
        self.training = Training(model, self.optimizer(model))
        self.scaler = torch.amp.GradScaler("cpu") if it.precision == "float16" else None

    @property
    def model(self) -> nn.Module:
        """What is watched."""
        return self.training.model

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """A new optimiser, as the recipe has it."""
        it = self.it
        options = {"momentum": it.momentum} if it.optimizer == "SGD" else {}
        made: torch.optim.Optimizer = getattr(torch.optim, it.optimizer)(model.parameters(), lr=it.rate, **options)
        return made

    def build(self) -> nn.Module:
        """The network."""
        raise NotImplementedError

    def loss(self) -> torch.Tensor:
        """The loss of a new batch."""
        raise NotImplementedError

    def skill(self) -> float:
        """1 is perfect, 0 as good as nothing: measured without fastact, and where the faults of its kind show."""
        raise NotImplementedError

    def check(self) -> None:
        """A pass in evaluation mode and its loss, as people validate while they train."""
        raise NotImplementedError(f"{type(self).__name__} has no pass in evaluation mode")

    def samples(self) -> torch.Tensor | None:
        """Inputs over which dead neurons are counted; None: they are not."""
        return None

    def autocast(self) -> torch.autocast:
        """The precision of forward passes."""
        name = self.it.precision if self.it.precision in ("bfloat16", "float16") else ""
        return torch.autocast("cpu", getattr(torch, name or "bfloat16"), enabled=bool(name))

    def draw(self, size: int) -> torch.Tensor:
        """Places of a new batch among so many samples."""
        return torch.randint(size, (self.it.batch,), generator=self.order)

    def set_rate(self, step: int) -> None:
        """The learning rate of this step."""
        it = self.it
        share = min(1.0, (step + 1) / it.warmup)
        if it.cosine:
            share *= 0.5 * (1.0 + math.cos(math.pi * step / it.steps))
        if it.waves:
            share *= 0.55 + 0.45 * math.cos(2.0 * math.pi * it.waves * step / it.steps)
        for group in self.training.optimizer.param_groups:
            group["lr"] = share * group.setdefault("initial_lr", group["lr"])

    def step(self, step: int) -> float:
        """One training step; gives its loss."""
        training, scaler = self.training, self.scaler
        self.set_rate(step)
        losses = []
        for turn in range(self.it.passes):
            loss = self.loss()
            losses.append(float(loss.detach()))
            total = training.sign * loss / self.it.passes
            if training.penalty is not None:
                total = total + training.penalty()
            if training.clears and not turn:
                training.optimizer.zero_grad()
            (scaler.scale(total) if scaler else total).backward()
        if self.it.clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.it.clip)
        if scaler:
            scaler.step(training.optimizer)
            scaler.update()
        else:
            training.optimizer.step()
        return sum(losses) / len(losses)


class Supervised(Program):
    """Answers to inputs, by cross entropy or squared error; its skill is that of the task, in evaluation mode."""

    def __init__(self, it: Network, seed: int) -> None:
        self.task: Task = load(it.task)
        super().__init__(it, seed)

    def build(self) -> nn.Module:
        """The network of the recipe."""
        model = NETS[self.it.net](self.task.inputs, self.task.outputs, **self.it.options)
        model(self.task.train[0][:2])  # lazy layers learn their sizes
        return model

    def samples(self) -> torch.Tensor | None:
        """The inputs of the training part."""
        return self.enter(self.task.train[0])

    def loss(self) -> torch.Tensor:
        """That of a random batch."""
        x, y = self.task.train
        batch = self.draw(len(x))
        with self.autocast():
            answer = self.model(self.enter(self.training.feed(x[batch])))
        return self.task.loss(answer, y[batch])

    def enter(self, x: torch.Tensor) -> torch.Tensor:
        """The inputs in the type that the network takes."""
        return x.half() if self.it.precision == "half" and x.is_floating_point() else x

    @torch.no_grad()
    def check(self) -> None:
        """The loss of a part of the test samples, in evaluation mode."""
        x, y = (each[:128] for each in self.task.test)
        self.model.eval()
        with self.autocast():
            answer = self.model(self.enter(self.training.feed(x)))
        self.task.loss(answer, y)
        self.model.train()

    @torch.no_grad()
    def skill(self) -> float:
        """That of the task, on its test part."""
        x, y = self.task.test
        self.model.eval()
        with self.autocast():
            answer = torch.cat([self.model(self.enter(self.training.feed(part))) for part in x.split(512)])
        skill = self.task.skill(answer, y)
        self.model.train()
        return round(skill, 4) if math.isfinite(skill) else 0.0


def spread_of(codes: torch.Tensor) -> float:
    """What samples differ by, as a share of their size: 1 where their mean is zero, 0 where all are alike."""
    size = float(codes.square().mean().sqrt())
    return float((codes - codes.mean(0)).square().mean().sqrt()) / size if size > 0 and math.isfinite(size) else 0.0


def explained(values: torch.Tensor, wanted: torch.Tensor) -> float:
    """R² of `values` beside `wanted`, -1 at the least; 0 where it is not finite."""
    rest = float((values - wanted).square().mean() / (wanted - wanted.mean(0)).square().mean())
    return max(1.0 - rest, -1.0) if math.isfinite(rest) else 0.0


class Routed(Supervised):
    """A mixture of experts. Its skill: the lesser of the task's and the share of experts that a test sample meets."""

    @torch.no_grad()
    def skill(self) -> float:
        """As the class says."""
        met: set[str] = set()

        def meet(name: str) -> Callable[..., None]:
            return lambda *_: met.add(name)

        experts = self.model.get_submodule("experts").named_children()
        handles = [expert.register_forward_hook(meet(name)) for name, expert in experts]
        skill = super().skill()
        for handle in handles:
            handle.remove()
        return min(skill, len(met) / len(handles))
