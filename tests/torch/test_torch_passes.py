"""Passes: a row for each place of a module, the model's own input, modes, and which layer feeds which."""

import threading
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch_doubles import Recorder, seen

import fastact
from fastact.torch import watch


class Shared(nn.Module):
    """One activation in `places` places."""

    def __init__(self, places: int = 3) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4 + n) for n in range(1))
        self.act, self.places = nn.ReLU(), places

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for place in range(self.places):
            x = self.act(x - place)
        return x


def names(recorder: Recorder) -> list[str]:
    return [call.name for call in recorder.calls]


def test_a_module_has_a_row_for_each_place_of_a_pass() -> None:
    recorder, x = Recorder(), torch.randn(5, 4)
    model = Shared()
    with watch(model, recorder, layers="act"):
        y = model(x)
    assert list(recorder.given) == ["input", "act", "act:2", "act:3"]
    torch.testing.assert_close(recorder.given["act:3"][0], y)


def test_the_places_end_in_the_last_one() -> None:
    assert names(seen(Shared(11), torch.ones(5, 4), layers="act")) == [
        "act", *(f"act:{place}" for place in (2, 3, 4, 5, 6, 7, 8, 8, 8, 8)),
    ]  # fmt: skip


def test_passes_of_one_step_are_merged_place_by_place() -> None:
    model = Shared(2)
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, layers="act"):
        for _ in range(3):  # gradients are accumulated
            model(torch.ones(5, 4)).sum()
        monitor.step()
    assert {name: int(layer["count"][0]) for name, layer in monitor.history.items()} == {
        "input": 60, "act": 60, "act:2": 60,
    }  # fmt: skip


def test_a_recurrent_cell_has_one_row_and_a_place_comes_before_an_output() -> None:
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.lstm = nn.LSTMCell(4, 4), nn.LSTM(4, 4, batch_first=True)

        def forward(self, x: torch.Tensor) -> Any:
            h = c = torch.zeros(len(x), 4)
            for t in range(x.shape[1]):
                h, c = self.cell(x[:, t], (h, c))
            return self.lstm(self.lstm(x)[0])

    recorder = seen(Loop(), torch.randn(2, 5, 4))
    assert list(recorder.given) == [
        "cell[0]", "cell[1]", "lstm[0]", "lstm[1][0]", "lstm[1][1]", "lstm:2[0]", "lstm:2[1][0]", "lstm:2[1][1]",
    ]  # fmt: skip
    assert len(recorder.given["cell[0]"]) == 5
    assert recorder.about["cell[1]"][1] == recorder.about["lstm[1][1]"][1] == "LSTMState"


@pytest.mark.parametrize("reentrant", [False, True])
def test_what_checkpointing_repeats_is_no_further_place(reentrant: bool) -> None:
    class Saving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Shared(2)

        def forward(self, x: torch.Tensor) -> Any:
            return checkpoint(self.inner, checkpoint(self.inner, x, use_reentrant=reentrant), use_reentrant=reentrant)

    recorder, model = Recorder(), Saving()
    with watch(model, recorder, layers="*.act", inputs=False):
        for _ in range(2):
            model(torch.ones(3, 4, requires_grad=True)).sum().backward()
    assert names(recorder) == ["inner.act", "inner.act:2", "inner.act:3", "inner.act:4"] * 2


def test_a_pass_that_fails_or_is_interrupted_is_over() -> None:
    class Failing(Shared):
        error: type[BaseException] | None = None

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.act(x)
            if self.error:
                raise self.error
            z: torch.Tensor = self.act(torch.relu(y))
            return z

    model = Failing()
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, inputs=False, strict=True) as handle:
        for error in (ValueError, KeyboardInterrupt):
            model.error = error
            with pytest.raises(error):
                model(torch.ones(2, 4))
            model.error = None
            monitor.step()
            model(torch.ones(2, 4))
            monitor.step()
        model.error = KeyboardInterrupt
        with pytest.raises(KeyboardInterrupt):
            model(torch.ones(2, 4))
        assert torch.overrides._get_current_function_mode_stack()
        handle.remove()
        assert not torch.overrides._get_current_function_mode_stack()
    assert {name: layer["count"].tolist() for name, layer in monitor.history.items() if "2" in name} == {
        "act:2": [8, 8]
    }


def test_a_model_that_calls_itself_is_one_pass() -> None:
    class Tree(Shared):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.act(x) if len(x) == 1 else torch.cat([self(x[:1]), self(x[1:])])
            return torch.tanh(y)

    recorder = seen(Tree(), torch.ones(2, 4))
    assert list(recorder.given) == ["act", "tanh", "act:2", "tanh:2", "tanh:3"]


def test_what_the_model_is_given_is_recorded() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 2)

        def forward(self, x: Any, y: Any = None, attention_mask: Any = None, image: Any = None) -> torch.Tensor:
            y_hat: torch.Tensor = self.fc(x if isinstance(x, torch.Tensor) else x["x"])
            return y_hat

    x, ids = torch.randn(3, 4), torch.ones(3, 4, dtype=torch.long)
    model = Mixed()
    for args, kwargs, want in (
        ((x,), {}, ["input"]),
        ((x, x), {"image": x}, ["input", "input[1]", "input['image']"]),
        ((x, ids, x), {}, ["input"]),  # tokens, and a mask
        ((x,), {"attention_mask": x}, ["input"]),
        (({"x": x},), {}, ["input['x']"]),
        (({"x": x}, [x]), {}, ["input[0]['x']", "input[1][0]"]),
    ):
        recorder = Recorder()
        with watch(model, recorder):
            model(*args, **kwargs)
        assert list(recorder.given) == [*want, "fc"]
        assert recorder.about[want[0]] == (1, "Input")
    assert "input" not in seen(model, x).given


def test_an_image_has_its_neurons_on_its_channels() -> None:
    recorder = Recorder()
    for model, x, axis in (
        (nn.Sequential(nn.Conv2d(3, 2, 1)), torch.ones(2, 3, 4, 4), 1),
        (nn.Sequential(nn.Conv1d(3, 2, 1)), torch.ones(2, 3, 4), 1),
        (nn.Sequential(nn.Linear(3, 2)), torch.ones(2, 4, 3), 2),
        (nn.Sequential(nn.Linear(3, 2)), torch.ones(3), None),
    ):
        with watch(model, recorder := Recorder()):
            model(x)
        assert recorder.about["input"] == (axis, "Input")


def test_parts_that_are_called_by_themselves_have_passes_and_inputs_of_their_own() -> None:
    parts = {"g": nn.Sequential(nn.Linear(4, 4), nn.ReLU()), "d": nn.Sequential(nn.Linear(4, 1))}
    model, recorder, x = nn.ModuleDict(parts), Recorder(), torch.randn(3, 4)
    with watch(model, recorder):
        fake = model["g"](x)
        model["d"](x)
        model["d"](fake)
    assert names(recorder) == ["g.input", "g.0", "g.1", "d.input", "d.0", "d.input", "d.0"]

    class Auto(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.decoder, self.input = nn.Linear(4, 2), nn.Linear(2, 4), nn.Identity()

        def forward(self, x: torch.Tensor) -> Any:
            return self.decoder(self.encoder(self.input(x)))

    auto = Auto()
    with watch(auto, recorder := Recorder()):
        auto.decoder(auto.encoder(x))
        auto(x)
        with torch.no_grad():
            auto.decoder(auto.encoder(x))
    # What a layer is given is data, or has a row already. A layer of that name keeps it.
    assert names(recorder) == ["encoder.input", "encoder", "decoder", ":input", *["encoder", "decoder"] * 2]


def test_two_models_of_one_monitor_do_not_share_an_input() -> None:
    first, second = nn.Sequential(nn.Linear(4, 4)), nn.ModuleList([nn.Linear(4, 4)])[0]
    with fastact.ActivationMonitor() as monitor, watch(first, monitor), watch(second, monitor):
        second(first(torch.ones(2, 4)))
        monitor.step()
    assert list(monitor.history) == ["input", "0", "Linear.input", "Linear"]


def test_rows_of_another_mode_go_by_another_name() -> None:
    model, x = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)), torch.ones(3, 4)
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, gradients=True, loss=False):
        for mode in (True, False):
            model.train(mode)
            model(x).sum().backward()
        monitor.step()
    modes = {name: layer.info.mode for name, layer in monitor.history.items()}
    plain = ["input", "0", "1", "1:grad", "0:grad"]
    assert {name for name, mode in modes.items() if not mode} == set(plain)
    evaluated = {"input:eval", "0:eval", "1:eval", "1:eval:grad", "0:eval:grad"}
    assert {name for name, mode in modes.items() if mode == "evaluation"} == evaluated
    assert monitor.history["1"]["zeros"][0] > 0 == monitor.history["1:eval"]["zeros"][0]


def test_the_mode_at_the_time_of_watch_is_the_plain_one() -> None:
    model, x = nn.Sequential(nn.Linear(4, 4)).eval(), torch.ones(3, 4)
    with fastact.ActivationMonitor() as monitor, watch(model, monitor):
        model(x)
        model.train()
        model(x)
        model[0].eval()  # a frozen layer of a model in training
        model(x)
        monitor.step()
    assert {name: (layer.info.mode, int(layer["count"][0])) for name, layer in monitor.history.items()} == {
        "input": ("evaluation", 12), "0": ("evaluation", 12), "input:train": ("", 24), "0:train": ("", 24),
    }  # fmt: skip


def test_a_loop_of_one_s_own_says_what_is_evaluation() -> None:
    with fastact.ActivationMonitor() as monitor:
        monitor.record("act", torch.ones(2, 3), axis=-1)
        monitor.record("act", torch.zeros(2, 3), axis=-1, training=False)
        monitor.step()
    assert [(name, layer.info.mode) for name, layer in monitor.history.items()] == [
        ("act", ""), ("act:eval", "evaluation"),
    ]  # fmt: skip


def test_it_is_seen_which_layer_feeds_which() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.act, self.flat = nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Flatten()
            self.left, self.right, self.out = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> Any:
            h = self.act(self.fc(x)).view(-1, 2, 2)
            a, b = self.left(self.flat(h)), self.right(h.reshape(-1, 4))
            b += 1
            return self.out(b) + torch.tanh(a)

    with fastact.ActivationMonitor() as monitor, watch(model := Net(), monitor):
        for _ in range(2):
            model(torch.randn(3, 4))
            monitor.step()
    assert {name: layer.info.source for name, layer in monitor.history.items()} == {
        "input": "", "fc": "input", "act": "fc", "flat": "act", "left": "flat",
        "right": "flat",  # which has the same memory
        "out": "",  # what `right` returned was changed
        "tanh": "left",
    }  # fmt: skip


def test_states_of_several_layers_and_directions_are_rows_of_their_own() -> None:
    recorder, x = Recorder(), torch.randn(2, 3, 4)
    model = nn.ModuleDict({"gru": nn.GRU(4, 5, num_layers=2, bidirectional=True, batch_first=True)})
    with watch(model, recorder, inputs=False, gradients=True):
        y, h = model["gru"](x)
        (y.sum() + (h * torch.arange(4.0)[:, None, None]).sum()).backward()
    states = [f"gru[1][{place}]" for place in range(4)]
    assert list(recorder.given)[:5] == ["gru[0]", *states]
    for place, name in enumerate(states):
        torch.testing.assert_close(recorder.given[name][0], h[place])
        torch.testing.assert_close(recorder.given[f"{name}:grad"][0], torch.full((2, 5), float(place)))
        assert recorder.about[name] == (1, "GRU")


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize(
    ("module", "layer_type"),
    [
        (nn.RNN(4, 4, nonlinearity="relu"), "RNNReLU"),
        (nn.RNNCell(4, 4, nonlinearity="relu"), "RNNCellReLU"),
        (nn.RNN(4, 4), "RNN"),
        (nn.LSTM(4, 4, proj_size=2), "LSTMProjected"),
    ],
)
def test_recurrent_layers_without_bounds_are_told_by_their_type(module: nn.Module, layer_type: str) -> None:
    x = torch.ones(2, 4) if isinstance(module, nn.RNNCell) else torch.ones(3, 2, 4)
    assert seen(nn.ModuleDict({"m": module})["m"], x).calls[0].kind == layer_type


def test_threads_are_in_passes_of_their_own() -> None:
    inside, going = threading.Event(), threading.Event()

    class Waiting(Shared):
        def forward(self, x: torch.Tensor, wait: bool = False) -> torch.Tensor:
            y = self.act(x)
            if wait:
                inside.set()
                going.wait(300)
            return torch.relu(self.act(y))

    model, recorder = Waiting(), Recorder()
    with watch(model, recorder, inputs=False):
        thread = threading.Thread(target=model, args=(torch.ones(2, 4), True))
        thread.start()
        assert inside.wait(300)
        model(torch.ones(2, 4))
        going.set()
        thread.join()
    assert names(recorder) == ["act", "act", "act:2", "relu", "act:2", "relu"]
