"""Mistakes of what is fed: inputs, labels and targets."""

# ruff: noqa: D102 (`Injection` says what the methods are for)

import torch

from bench.faults.mutants.injection import Injection
from bench.faults.mutants.operator import operator
from bench.faults.mutants.profile import Profile


def fed(it: Profile) -> bool:
    """Whether batches can be changed as they are drawn."""
    return bool(it.x_shape) and it.passes and it.models == 1


def numbers(it: Profile) -> bool:
    """Whether what goes in are numbers, not symbols."""
    return fed(it) and it.x == "float"


class _Inputs(Injection):
    """All inputs are another thing, in training and afterwards."""

    def changed(self, x: torch.Tensor) -> torch.Tensor:
        """What goes in."""
        raise NotImplementedError

    def data(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.touched += 1
        return self.changed(x), y

    def asked(self, x: torch.Tensor) -> torch.Tensor:
        return self.changed(x)


@operator("unscaled_inputs unequal_features", numbers)
class InputsTimes255(_Inputs):
    """Inputs are 255 times too large."""

    def changed(self, x: torch.Tensor) -> torch.Tensor:
        return x * 255


@operator("unscaled_inputs empty_inputs", numbers)
class InputsFarFromZero(_Inputs):
    """Inputs lie around 1000 and differ by one."""

    def changed(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1000


@operator("unequal_features unscaled_inputs missing_codes", lambda it: numbers(it) and len(it.x_shape) == 2)
class OneFeatureTimes10000(_Inputs):
    """One feature is in units that are ten thousand times smaller than the others'."""

    def changed(self, x: torch.Tensor) -> torch.Tensor:
        factor = torch.ones(x.shape[-1])
        factor[x.shape[-1] // 2] = 1e4
        return x * factor


@operator("missing_codes unscaled_inputs unequal_features", lambda it: numbers(it) and len(it.x_shape) == 2)
class MissingAsMinus999(_Inputs):
    """A twentieth of all values is missing and coded as -999."""

    def changed(self, x: torch.Tensor) -> torch.Tensor:
        drawn = torch.rand(x.shape, generator=torch.Generator().manual_seed(len(x)))
        return torch.where(drawn < 0.05, -999.0, x)


@operator("missing_values", numbers, plain=True)
class SomeMissing(_Inputs):
    """One value in five hundred is NaN."""

    def changed(self, x: torch.Tensor) -> torch.Tensor:
        drawn = torch.rand(x.shape, generator=torch.Generator().manual_seed(len(x)))
        return torch.where(drawn < 0.002, torch.nan, x)

    def asked(self, x: torch.Tensor) -> torch.Tensor:
        return x


@operator("empty_inputs same_batch", numbers, plain=True)
class InputsZero(_Inputs):
    """All inputs are zero."""

    def changed(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x)


@operator("empty_inputs same_batch", fed, plain=True)
class InputsAlike(_Inputs):
    """All inputs are the first one."""

    def changed(self, x: torch.Tensor) -> torch.Tensor:
        return x[:1].expand_as(x).clone()


@operator("same_batch", fed)
class SameBatch(Injection):
    """The first batch comes again and again."""

    def __init__(self) -> None:
        super().__init__()
        self.first: tuple[torch.Tensor, torch.Tensor] | None = None

    def batch(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.touched += 1
        self.first = self.first or (x, y)
        return self.first


@operator("same_batch empty_inputs constant_labels", fed)
class OneSample(Injection):
    """All samples of all batches are one and the same."""

    def __init__(self) -> None:
        super().__init__()
        self.first: tuple[torch.Tensor, torch.Tensor] | None = None

    def batch(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.touched += 1
        self.first = self.first or (x[:1].expand_as(x).clone(), y[:1].expand_as(y).clone())
        return self.first


@operator("shuffled_labels", lambda it: fed(it) and it.y)
class LabelsShuffled(Injection):
    """Targets are shuffled by themselves, once."""

    def data(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.touched += 1
        return x, y[torch.randperm(len(y), generator=torch.Generator().manual_seed(1))]


@operator("shuffled_labels", lambda it: fed(it) and it.y)
class LabelsOfAnotherLoader(Injection):
    """Targets come from a loader that shuffles by itself: they are others each time."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(2)

    def data(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.all = y
        return x, y

    def batch(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.touched += 1
        return x, self.all[torch.randint(len(self.all), (len(y),), generator=self.generator)]


@operator("constant_labels", fed)
class LabelsConstant(Injection):
    """All targets are the first one."""

    def data(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.touched += 1
        return x, y[:1].expand_as(y).clone()


@operator(
    "unbalanced_labels constant_labels",
    lambda it: fed(it) and ((it.y == "int" and len(it.y_shape) == 1) or it.y == "binary"),
)
class OneClassOnly(Injection):
    """One sample in a hundred is of another class than the commonest."""

    def data(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.touched += 1
        flat = y.reshape(len(y), -1)[:, 0].long()
        common = int(torch.bincount(flat).argmax())
        most, rest = torch.nonzero(flat == common).flatten(), torch.nonzero(flat != common).flatten()
        chosen = torch.cat([most, rest[: max(len(most) // 100, 1)]])
        return x[chosen], y[chosen]


@operator("targets_outside_loss_range", lambda it: fed(it) and it.y == "binary" and it.criterion == "BCEWithLogitsLoss")
class LabelsOneAndTwo(Injection):
    """Binary labels are 1 and 2."""

    def data(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.touched += 1
        return x, y + 1


@operator("targets_outside_loss_range", lambda it: fed(it) and it.y == "binary" and it.criterion == "BCEWithLogitsLoss")
class MasksTo255(Injection):
    """Binary labels are 0 and 255."""

    def data(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.touched += 1
        return x, y * 255


def regression(it: Profile) -> bool:
    """Whether numbers are learned."""
    return fed(it) and it.y == "float" and it.criterion in ("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss")


@operator("target_scale rate_too_large rate_too_small", regression)
class TargetsTimes1000(Injection):
    """Targets of a regression are a thousand times larger than what suits."""

    def data(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.touched += 1
        return x, y * 1e3

    def answered(self, answer: torch.Tensor) -> torch.Tensor:
        return answer / 1e3


@operator("target_scale rate_too_small rate_too_large", regression)
class TargetsFarFromZero(Injection):
    """Targets of a regression lie around 100 and differ by one."""

    def data(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.touched += 1
        return x, y + 100

    def answered(self, answer: torch.Tensor) -> torch.Tensor:
        return answer - 100


@operator("broadcast", lambda it: regression(it) and it.y_shape[1:] == [1] == it.out_shape[1:])
class FlatTargets(Injection):
    """Targets (n,) meet answers (n, 1)."""

    def batch(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.touched += 1
        return x, y[:, 0]


@operator("missing_values targets_outside_loss_range", regression, plain=True)
class TargetsWithGaps(Injection):
    """One target in a hundred is NaN."""

    def data(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.touched += 1
        drawn = torch.rand(len(y), generator=torch.Generator().manual_seed(3))
        return x, torch.where((drawn < 0.01).reshape(-1, *([1] * (y.ndim - 1))), torch.nan, y)
