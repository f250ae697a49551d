"""`watch(..., sample=)`: what is swept of each layer, and what its rows say."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch_doubles import Recorder

import fastact
from fastact._adapters.drawing import Drawing
from fastact.errors import ArgumentTypeError, ArgumentValueError
from fastact.torch import watch

BATCH = 100


class Net(nn.Module):
    """Positions of samples side by side with features of samples."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 2)
        self.act = nn.ReLU(inplace=True)
        self.each = nn.Linear(9, 2)
        self.head = nn.Linear(3 * 18, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.act(self.conv(x))
        rows = self.each(maps.reshape(-1, 9))  # three for each sample
        found: torch.Tensor = self.head(torch.cat([maps.flatten(1), maps.flatten(1)], 1)) + rows.sum() * 0.0
        return found


def swept(x: torch.Tensor, axis: int | None = None) -> Any:
    return fastact.summarize(x.detach().numpy(), axis=axis)


def test_all_layers_and_gradients_of_a_step_are_swept_at_the_same_samples() -> None:
    model, drawing = Net(), Drawing(0.1)
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, gradients="outputs", sample=0.1):
        for step in range(3):
            x = torch.randn(BATCH, 1, 4, 4)
            maps = functional.conv2d(x, model.conv.weight, model.conv.bias).detach()
            model(x).square().mean().backward()
            monitor.step()
            chosen = torch.from_numpy(drawing.samples(step, 0, BATCH))
            history = monitor.history
            for name, whole in (("input", x), ("conv", maps), ("act", maps.relu())):
                row, want = history[name].rows[-1], swept(whole[chosen], 1)
                assert (row["count"], row["zeros"]) == (want.total.count, want.total.zeros)
                assert (row["min"], row["max"]) == (want.total.min, want.total.max)
                assert row["mean"] == pytest.approx(want.total.mean, rel=1e-6)
                assert (row["drawn"], row["left_out"]) == (len(chosen), whole.numel() - want.total.count)
            each = history["each"].rows[-1]
            of_sample = functional.linear(maps.relu().reshape(BATCH, 3, 9), model.each.weight, model.each.bias)
            assert each["max"] == swept(of_sample[chosen]).max
            assert each["count"] + each["left_out"] == of_sample.numel()
            for name in ("conv:grad", "act:grad", "each:grad", "head:grad"):
                assert history[name].rows[-1]["drawn"] == len(chosen)
            # The loss is never drawn from.
            assert history["loss"].rows[-1]["left_out"] == 0


def test_counts_and_moments_are_unbiased_and_exact_over_a_round() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(5, 7), nn.ReLU()), torch.randn(60, 5).sort(0).values
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, sample=0.2):
        for _ in range(10):
            model(x)
            monitor.step()
        rows = monitor.history["1"].rows
    whole = swept(model(x))
    estimates = rows["zeros"] * ((rows["count"] + rows["left_out"]) / rows["count"])
    assert estimates.mean() == pytest.approx(whole.zeros, rel=1e-12)
    assert (estimates != whole.zeros).any()
    for begin in (0, 5):  # a round is the batch
        part = rows[begin : begin + 5]
        assert part["zeros"].sum() == whole.zeros
        assert (part["count"].sum(), part["max"].max()) == (whole.count, whole.max)
        assert part["mean"].mean() == pytest.approx(whole.mean, rel=1e-6)


def test_one_bad_sample_of_a_batch_is_found_within_a_round() -> None:
    model, x = nn.Sequential(nn.Linear(5, 7), nn.Tanh()), torch.randn(BATCH, 5)
    x[37, 2] = float("nan")
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, sample=0.1):
        for _ in range(20):
            model(x)
            monitor.step()
        rows = monitor.history["1"].rows
        assert (rows["nans"] > 0).sum() == 2
        assert (rows["nans"][:10] > 0).sum() == 1
        report = monitor.diagnose()
    assert {finding.condition for finding in report.findings} >= {"non_finite"}


def test_parts_of_accumulated_gradients_are_drawn_apart_and_merged() -> None:
    model, drawing = nn.Sequential(nn.Linear(5, 7)), Drawing(0.1)
    parts = torch.randn(3, BATCH, 5)
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, sample=0.1):
        for part in parts:
            model(part)
        monitor.step()
        row = monitor.history["input"].rows[-1]
    chosen = [part[drawing.samples(0, number, BATCH)] for number, part in enumerate(parts)]
    want = swept(torch.cat(chosen))
    assert (row["count"], row["min"], row["max"]) == (want.count, want.min, want.max)
    assert (row["drawn"], row["left_out"]) == (30, 3 * 90 * 5)


def test_small_batches_are_taken_whole_in_as_many_steps_as_the_share_allows() -> None:
    model = nn.Sequential(nn.Linear(5, 7))
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, sample=0.25):
        for _ in range(12):
            model(torch.randn(3, 5))
            monitor.step()
        rows = monitor.history["0"].rows
    assert rows["step"].tolist() == [0, 4, 8]
    assert set(rows["count"].tolist()) == {21}
    assert not rows["left_out"].any()


def test_a_short_batch_at_the_end_of_an_epoch_costs_no_step_after_it() -> None:
    model = nn.Sequential(nn.Linear(5, 7))
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, sample=0.1):
        for _ in range(3):
            for size in (BATCH, BATCH, BATCH, 3):
                model(torch.randn(size, 5))
                monitor.step()
        for _ in range(18):  # no end of an epoch: all are short now
            model(torch.randn(3, 5))
            monitor.step()
        rows = monitor.history["0"].rows
    assert rows["step"].tolist() == [*range(13), 20]
    assert rows["drawn"].tolist() == [10, 10, 10, 0] * 3 + [0, 0]


def test_the_first_steps_are_swept_whole_and_every_still_holds() -> None:
    model = nn.Sequential(nn.Linear(5, 7))
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, sample=0.1, every=3, first=2):
        for _ in range(31):
            model(torch.randn(BATCH, 5))
            monitor.step()
        rows = monitor.history["0"].rows
    assert rows["step"].tolist() == [0, 1, *range(3, 31, 3)]
    assert rows["left_out"].tolist() == [0, 0] + [90 * 7] * 10
    # Each recorded step has its own share.
    assert rows["drawn"].sum() == BATCH


def test_what_is_not_along_the_samples_is_swept_whole_and_in_any_layout() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.positions = nn.Embedding(12, 6)
            self.conv = nn.Conv2d(2, 4, 1)
            self.wide = nn.Linear(6, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.positions(torch.arange(7))
            self.conv(x)
            found: torch.Tensor = self.wide(x.transpose(2, 3)[..., :1].expand(-1, -1, -1, 6))
            return found

    model, x = Odd(), torch.randn(40, 2, 5, 6).contiguous(memory_format=torch.channels_last)
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, sample=0.2):
        model(x)
        monitor.step()
        rows = {name: layer.rows[-1] for name, layer in monitor.history.items()}
    assert (rows["positions"]["count"], rows["positions"]["left_out"]) == (42, 0)
    chosen = Drawing(0.2).samples(0, 0, 40)
    maps = functional.conv2d(x, model.conv.weight, model.conv.bias)
    assert rows["conv"]["max"] == maps[chosen].max().item()
    assert rows["conv"]["neurons"] == 4
    given = x.transpose(2, 3)[..., :1].expand(-1, -1, -1, 6)
    wide = functional.linear(given, model.wide.weight, model.wide.bias)[chosen]
    assert rows["wide"]["max"] == pytest.approx(wide.max().item())


def test_training_is_the_same_bit_for_bit_and_random_numbers_are_left_alone() -> None:
    def trained(sample: float | None) -> tuple[list[torch.Tensor], torch.Tensor]:
        torch.manual_seed(1)
        np.random.seed(1)
        model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(6, 3))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        monitor = fastact.ActivationMonitor()
        handle = None if sample is None else watch(model, monitor, sample=sample, gradients="outputs")
        for _ in range(4):
            optimizer.zero_grad()
            model(torch.randn(32, 4)).square().mean().backward()
            optimizer.step()
            monitor.step()
        if handle is not None:
            handle.remove()
        return [p.detach() for p in model.parameters()], torch.rand(3) + float(np.random.rand())

    bare, watched = trained(None), trained(0.25)
    assert all(map(torch.equal, bare[0], watched[0]))
    assert torch.equal(bare[1], watched[1])


def test_a_log_reads_as_it_was_live(tmp_path: Any) -> None:
    torch.manual_seed(0)
    first = nn.Linear(5, 30)
    model = nn.Sequential(first, nn.ReLU(), nn.Linear(30, 2))
    with torch.no_grad():
        first.bias[:29] = -100.0
    with fastact.ActivationMonitor(tmp_path / "run") as monitor, watch(model, monitor, sample=0.1):
        for _ in range(60):
            model(torch.randn(BATCH, 5)).square().mean().backward()
            monitor.step()
        live = monitor.diagnose()
        rows = monitor.history["1"].rows
    log = fastact.open_log(tmp_path / "run")
    assert log.diagnose().to_dict() == live.to_dict()
    table = log.to_table()
    assert table.column("left_out").null_count == 0
    mine = [row for row in table.to_pylist() if row["layer"] == "1"]
    assert [row["left_out"] for row in mine] == rows["left_out"].tolist() == [90 * 30] * 60
    (dead,) = [finding for finding in live.findings if finding.condition == "dead" and finding.layer == "1"]
    assert dead.evidence["dead_neurons"] == 29
    assert "(10% of the samples of each step were looked at)" in dead.message


def test_bad_arguments_are_named() -> None:
    model = nn.Sequential(nn.Linear(5, 7))
    with pytest.raises(ArgumentValueError, match="sample: got 2, want a number from 0 to 1"):
        watch(model, fastact.ActivationMonitor(), sample=2)
    with pytest.raises(ArgumentTypeError, match="monitor: got Recorder, want an ActivationMonitor, as sample is given"):
        watch(model, Recorder(), sample=0.1)
    assert not model[0]._forward_hooks
