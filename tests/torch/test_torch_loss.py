"""The losses of PyTorch models: which are seen, under which names, with which facts."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.functional import mse_loss
from torch.overrides import _get_current_function_mode_stack
from torch_doubles import Recorder
from torch_losses import (
    Net,
    Trained,
    X,
    Y,
    no_mode_is_left,  # noqa: F401, a fixture of all
)

import fastact
from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.torch import watch
from fastact.torch.loss_hooks import OF_THE_WHOLE

CRITERION = nn.CrossEntropyLoss()
LOSSES: dict[str, tuple[Callable[[Any], torch.Tensor], Any]] = {
    "function": (lambda model: functional.cross_entropy(model(X), Y), None),
    "module": (lambda model: CRITERION(model(X), Y), None),
    "asked": (lambda model: functional.cross_entropy(model(X), Y), True),
    "given": (lambda model: CRITERION(model(X), Y), CRITERION),
    "given function": (lambda model: functional.cross_entropy(model(X), target=Y), functional.cross_entropy),
    "in the model": (lambda model: model(X, Y), None),
    "scaled": (lambda model: CRITERION(model(X), Y) * torch.tensor(4.0) / 4, None),
    "averaged": (lambda model: functional.cross_entropy(model(X), Y, reduction="none").mean(), None),
}


@pytest.mark.parametrize("case", LOSSES)
def test_a_loss_is_recorded_with_its_targets_and_the_layer_that_it_was_given(case: str) -> None:
    loss_of, given = LOSSES[case]
    plain = Trained(loss_of, loss=False)
    assert plain.names() == []
    seen = Trained(loss_of, loss=given)
    assert all(map(torch.equal, plain.model.parameters(), seen.model.parameters()))
    assert seen.names() == ["loss:target", "loss", "loss:baseline"]
    row = seen.rows["loss"]
    assert row["mean"].tolist() == pytest.approx(seen.losses)
    assert (row.info.layer_type, row.info.source) == ("Loss", "fc2")
    facts = seen.facts()
    assert (facts["function"], facts["framework"], facts["weighted"]) == ("cross_entropy", "torch", False)
    assert facts["spelled"] == ("CrossEntropyLoss" if case == "given" else "cross_entropy")
    assert facts["reduction"] == ("none" if case == "averaged" else "mean")
    assert facts["prediction"]["activation"] == "Linear"
    assert "part" not in facts
    assert seen.rows["loss:baseline"]["mean"][0] == pytest.approx(torch.tensor(3.0).log().item())
    assert seen.rows["loss:target"].info.facts["distinct"] == [0.0, 1.0, 2.0]
    assert seen.unseen == {}


def test_weights_and_options_of_a_loss_are_facts() -> None:
    criterion = nn.CrossEntropyLoss(weight=torch.ones(3), reduction="sum")
    given = Trained(lambda model: criterion(model(X), Y), loss=criterion).facts()
    assert (given["weighted"], given["reduction"]) == (True, "sum")
    assert Trained(lambda model: criterion(model(X), Y)).facts() == {**given, "spelled": "cross_entropy"}
    smooth = Trained(lambda model: functional.cross_entropy(model(X), Y, label_smoothing=0.1))
    assert smooth.facts()["weighted"]
    assert "loss:baseline" in smooth.names()  # by how much is told
    assert "loss:baseline" not in Trained(lambda model: criterion(model(X), Y)).names()  # nor how many terms a sum has


def test_a_sum_is_the_loss_and_what_it_is_made_of_are_parts() -> None:
    seen = Trained(
        lambda model: (
            2.0 * functional.cross_entropy(y := model(X), Y)
            + 0.5 * mse_loss(y[:, 0], Y.float())
            + sum(p.square().sum() for p in model.parameters())
        )
    )
    assert seen.rows["loss"]["mean"].tolist() == pytest.approx(seen.losses)
    assert (seen.facts()["function"], seen.facts()["terms"]) == ("", 2)
    for part in ("loss:cross_entropy", "loss:mse_loss"):
        assert seen.facts(part)["part"]
        assert len(seen.rows[part]) == 2
    # A part of a layer's output is swept by itself.
    assert seen.rows["loss:mse_loss"].info.source == "loss:mse_loss:prediction"
    assert seen.facts("loss:mse_loss")["prediction"]["view_of"] == "fc2"
    assert seen.rows["loss:mse_loss:prediction"]["count"].tolist() == [12, 12]


def test_a_loss_by_hand_is_what_the_backward_pass_begins_with() -> None:
    scaled = Trained(lambda model: (model(X) - 1).square().mean() * torch.tensor(1024.0))
    assert scaled.names() == ["loss"]
    assert scaled.rows["loss"]["mean"].tolist() == pytest.approx([loss / 1024 for loss in scaled.losses])
    assert scaled.facts()["function"] == ""

    def mine(y: torch.Tensor) -> torch.Tensor:
        return (y - 1).square().mean()

    named = Trained(lambda model: mine(model(X)), loss={"my": mine})
    assert named.rows["my"]["mean"].tolist() == pytest.approx(named.losses)
    assert named.facts("my")["spelled"] == "mine"


def _of_class(probabilities: torch.Tensor) -> torch.Tensor:
    return -torch.log(probabilities[torch.arange(12), Y].clamp(min=1e-8)).mean()


def _of_each(probabilities: torch.Tensor) -> torch.Tensor:
    return -(functional.one_hot(Y) * torch.log(probabilities + 1e-8)).sum(1).mean()


@pytest.mark.parametrize(
    ("loss_of", "function", "source", "target", "constant"),
    [
        (lambda model: (model(X) - X[:, :3]).square().mean(), "mean_squared_error", "fc2", [12, 3], 1.0),
        (lambda model: (X[:, :3] - model(X)).pow(2).sum(), "mean_squared_error", "fc2", [12, 3], 36.0),
        (lambda model: -torch.log_softmax(model(X), 1)[range(12), Y].mean(), "nll", "loss:prediction", [12], 1.0986),
        (lambda model: _of_class(torch.softmax(model(X), 1)), "sparse_categorical_crossentropy", "", [12], 1.0986),
        (lambda model: _of_each(torch.softmax(model(X), 1)), "categorical_crossentropy", "", [12, 3], 1.0986),
        # It has no bound below.
        (lambda model: -(model(X) - X[:, :3]).square().mean(), "", "fc2", [12, 3], None),
        (lambda model: (model(X) - X[:, :3]).mean(), "", "fc2", [12, 3], None),
        # Nobody knows what that is.
        (lambda model: (model(X) - X[:, :3]).square().mean().log(), "", "", None, None),
    ],
)
def test_what_a_loss_by_hand_compares_is_recorded_where_it_comes_to_a_known_one(
    loss_of: Callable[[Any], torch.Tensor], function: str, source: str, target: list[int] | None, constant: float | None
) -> None:
    seen = Trained(loss_of)
    assert seen.rows["loss"]["mean"].tolist() == pytest.approx(seen.losses)
    assert seen.facts()["function"] == function
    assert source in ("", seen.rows["loss"].info.source)
    assert ("loss:target" in seen.rows) == (target is not None)
    if target is not None:
        assert seen.facts("loss:target")["shape"] == target
        assert len(seen.rows["loss:target"]) == 2
    assert ("loss:baseline" in seen.rows) == (constant is not None)
    if constant is not None:
        spread = float(X[:, :3].var(0, unbiased=False).mean()) if function == "mean_squared_error" else 1.0
        assert seen.rows["loss:baseline"]["mean"].tolist() == pytest.approx([constant * spread] * 2, rel=1e-3)


def test_by_what_a_loss_was_multiplied_is_a_fact() -> None:
    assert Trained(lambda model: 1e-4 * CRITERION(model(X), Y)).facts()["weight"] == pytest.approx(1e-4)
    assert Trained(lambda model: CRITERION(model(X), Y) * -1).facts()["weight"] == -1.0
    assert "weight" not in Trained(lambda model: CRITERION(model(X), Y)).facts()


class Own(nn.Module):
    """A criterion of the user's own."""

    def forward(self, outputs: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"accuracy": torch.tensor(0.5), "loss": functional.cross_entropy(outputs, labels).square()}


def test_a_criterion_of_ones_own_and_the_function_inside_of_it() -> None:
    criterion = Own()
    seen = Trained(lambda model: criterion(model(X), Y)["loss"], loss=criterion)
    assert seen.rows["loss"]["mean"].tolist() == pytest.approx(seen.losses)
    assert (seen.facts()["function"], seen.facts()["spelled"]) == ("", "Own")
    assert seen.rows["loss"].info.source == seen.rows["loss:cross_entropy"].info.source == "fc2"
    assert seen.facts("loss:cross_entropy")["part"]


def test_several_criteria_have_the_names_of_their_types_or_those_that_were_given() -> None:
    ce, l1, other = nn.CrossEntropyLoss(), nn.L1Loss(), nn.L1Loss()

    def loss_of(model: Any) -> torch.Tensor:
        y = model(X)
        total: torch.Tensor = ce(y, Y) + l1(y, X[:, :3]) + other(y, X[:, 1:])
        return total

    listed = Trained(loss_of, loss=[ce, l1, other])
    found = [name for name, row in listed.rows.items() if row.info.layer_type == "Loss"]
    assert found == ["loss:CrossEntropyLoss", "loss:L1Loss", "loss:L1Loss:2"]
    named = Trained(loss_of, loss={"class": ce, "near": l1}, prefix="g.")
    assert [name for name, row in named.rows.items() if row.info.layer_type == "Loss"] == ["g.class", "g.near"]


def test_passes_that_one_line_calls_are_merged_and_other_lines_have_rows_of_their_own() -> None:
    def accumulated(model: Any) -> torch.Tensor:
        for _ in range(2):
            loss = functional.cross_entropy(model(X), Y)
            (loss / 2).backward()
        return functional.mse_loss(model(X), X[:, :3])

    seen = Trained(accumulated)
    assert seen.rows["loss"]["count"].tolist() == [2, 2]
    assert seen.rows["loss:2"]["mean"].tolist() == pytest.approx(seen.losses)
    heads = Trained(lambda model: sum(mse_loss(y, X[:, :3]) for y in [model(X)] * 2))  # type: ignore[arg-type, return-value]
    assert {"loss", "loss:mse_loss", "loss:mse_loss:2"} < set(heads.names())
    steps = Trained(lambda model: sum(mse_loss(model(x), x[:, :3]) for x in X.split(1)))  # type: ignore[arg-type, return-value]
    assert steps.rows["loss"]["mean"].tolist() == pytest.approx([loss / 12 for loss in steps.losses])


def test_the_losses_of_two_passes_that_are_added_up_are_parts() -> None:
    seen = Trained(lambda model: mse_loss(model(X), X[:, :3]) + mse_loss(model(-X), X[:, :3]))
    assert {"loss", "loss:mse_loss", "loss:mse_loss:2"} < set(seen.names())
    assert seen.rows["loss"]["mean"].tolist() == pytest.approx(seen.losses)


def test_what_was_last_done_to_the_predictions_is_known_wherever_it_was_done() -> None:
    inside = Trained(lambda model: functional.cross_entropy(model(X), Y), Net(softmax=True))
    assert inside.rows["loss"].info.source == "softmax"
    assert inside.rows["softmax"].info.facts == {"axis": 1}
    module = Trained(lambda model: functional.cross_entropy(model(X), Y), nn.Sequential(Net(), nn.Softmax(dim=-1)))
    assert module.rows["1"].info.facts == {"axis": -1}
    outside = Trained(lambda model: functional.cross_entropy(model(X).softmax(dim=-1), Y))
    assert outside.rows["loss"].info.source == "loss:prediction"
    for seen in (inside, module, outside):
        prediction = seen.facts()["prediction"]
        assert prediction["activation"] == "Softmax"
        assert prediction["activation_axis"] in (1, -1)
        assert prediction["sums_to_one"]


def test_a_view_of_a_layers_output_is_that_layers() -> None:
    model = nn.Sequential(nn.Linear(4, 1))
    seen = Trained(lambda model: mse_loss(model(X).squeeze(1), X[:, 0]), model)
    assert seen.rows["loss"].info.source == "0"
    prediction = seen.facts()["prediction"]
    assert (prediction["shape"], prediction["view"], prediction["activation"]) == ([12], [12, 1], "Linear")
    assert prediction["viewed"]


def test_a_validation_has_rows_of_its_own_and_numbers_for_the_user_have_none() -> None:
    def with_validation(model: Any) -> torch.Tensor:
        model.eval()
        with torch.no_grad():
            for _ in range(2):
                functional.cross_entropy(model(X), Y)
                assert not _get_current_function_mode_stack()
        functional.cross_entropy(model(X), Y)  # without no_grad
        model.train()
        y = model(X)
        mse_loss(y.detach(), X[:, :3])
        return functional.cross_entropy(y, Y)

    for given in (None, True):
        seen = Trained(with_validation, loss=given)
        assert seen.rows["loss"]["count"].tolist() == [1, 1]
        assert [name for name in seen.names() if "target" in name] == ["loss:target:eval", "loss:target"]
        evaluated = seen.rows["loss:eval"]
        assert evaluated.info.mode == "evaluation"
        assert evaluated["count"][-1] >= 2


def test_a_criterion_that_is_never_called_is_told() -> None:
    criterion, other = nn.CrossEntropyLoss(), nn.CrossEntropyLoss()
    seen = Trained(lambda model: other(model(X), Y), loss={"loss": criterion, "more": functional.mse_loss})
    assert seen.unseen["loss"].startswith("loss= was given, but its forward never ran")
    assert seen.unseen["more"].startswith("loss= was given, but no loss was seen")
    assert seen.names() == []


def test_a_criterion_that_the_model_holds_is_a_loss_and_no_layer() -> None:
    seen = Trained(lambda model: model.criterion(model(X), Y), Net(criterion=nn.CrossEntropyLoss()))
    assert not [name for name in seen.rows if "criterion" in name]
    assert seen.rows["loss"]["mean"].tolist() == pytest.approx(seen.losses)
    own = Own()
    given = Trained(lambda model: model.criterion(model(X), Y)["loss"], Net(criterion=own), loss=own)
    assert not [name for name in given.rows if "criterion" in name]
    assert given.rows["loss"].info.source == "fc2"


def test_a_loss_belongs_to_the_model_whose_pass_came_last() -> None:
    first, second = Net(), nn.Sequential(nn.Linear(3, 3))
    with (
        fastact.ActivationMonitor() as monitor,
        watch(first, monitor, prefix="g.", loss=True) as generator,
        watch(second, monitor, prefix="d.", loss=True),
    ):
        functional.cross_entropy(second(first(X)), Y).backward()
        monitor.step()
        assert generator.failures == 0
    assert "d.loss" in monitor.history
    assert "g.loss" not in monitor.history


def test_of_a_loop_the_last_losses_are_its_terms() -> None:
    def loss_of(model: Any) -> torch.Tensor:
        y = model(X)
        return sum((functional.mse_loss(y[:, 0], Y.float()) for _ in range(100)), torch.zeros(()))

    seen = Trained(loss_of, steps=1)
    assert seen.rows["loss"]["mean"].tolist() == pytest.approx(seen.losses)
    assert sum(int(seen.rows[name]["count"][0]) for name in seen.rows if seen.facts(name).get("part")) == 32


def test_scaled_losses_of_mixed_precision_are_those_before_scaling() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)

    def loss_of(model: Any) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            loss = functional.cross_entropy(model(X), Y)
        scaled: torch.Tensor = scaler.scale(loss)
        return scaled

    seen = Trained(loss_of)
    assert seen.rows["loss"]["mean"].tolist() == pytest.approx([loss / 1024 for loss in seen.losses])
    assert seen.facts()["prediction"]["dtype"] == "bfloat16"
    assert seen.rows["loss"].info.source == "fc2"


@pytest.mark.parametrize(
    ("loss", "error", "message"),
    [
        (3, ArgumentTypeError, "loss: got int, want an nn.Module"),
        ([3], ArgumentTypeError, "loss: got int as 'loss', want"),
        ([], ArgumentValueError, "loss: got none"),
        ({"a": CRITERION, "b": CRITERION}, ArgumentValueError, "loss: got one criterion under two names"),
        (torch.jit.ScriptModule(), ArgumentTypeError, "loss: got a TorchScript module"),
    ],
)
def test_a_loss_that_cannot_be_is_one_clear_error(loss: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        watch(Net(), fastact.ActivationMonitor(), loss=loss)


def test_a_monitor_that_takes_no_losses_is_asked_for_none() -> None:
    with watch(model := Net(), Recorder()):
        functional.cross_entropy(model(X), Y).backward()
    with pytest.raises(ArgumentTypeError, match="monitor: got Recorder without record_loss"):
        watch(Net(), Recorder(), loss=True)


def test_the_watch_of_a_part_says_where_its_loss_is() -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 6), nn.ReLU()), nn.Linear(6, 3))
    whole, part = fastact.ActivationMonitor(), fastact.ActivationMonitor()
    with whole, part, watch(model, whole, strict=True), watch(model[0], part, strict=True):
        for _ in range(2):
            functional.cross_entropy(model(X), Y).backward()
            whole.step()
            part.step()
        assert "loss" in whole.history
        assert "loss" not in part.history
        assert part.unseen["loss"] == OF_THE_WHOLE.reason
        assert "loss" not in whole.unseen
