"""What a module's type tells: where its neurons are, and its layer type."""

import torch
from torch import nn
from torch_doubles import Call, Recorder, seen

from fastact.torch import watch


def test_neuron_axes_of_a_convolutional_network() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 5, 3),
        nn.BatchNorm2d(5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.GroupNorm(1, 5),
        nn.Flatten(),
        nn.Linear(45, 7),
        nn.ReLU(),
        nn.Softmax(dim=1),
    )
    axes = seen(model, torch.randn(2, 3, 8, 8)).axes()
    assert list(axes.values()) == [1, 1, 1, 1, 1, 1, 1, 1, 1]
    # Without the batch axis channels come first.
    unbatched = nn.Sequential(nn.Conv2d(3, 5, 3), nn.InstanceNorm2d(5), nn.ReLU())
    assert list(seen(unbatched, torch.randn(3, 8, 8)).axes().values()) == [0, 0, 0]


def test_neuron_axes_follow_the_layer_before() -> None:
    sequence = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 5), nn.GELU(), nn.LayerNorm(5), nn.Dropout(0.0))
    assert set(seen(sequence, torch.zeros(2, 3, dtype=torch.long)).axes().values()) == {2}
    signal = nn.Sequential(nn.Conv1d(3, 5, 3), nn.ReLU(), nn.BatchNorm1d(5), nn.AvgPool1d(2))
    assert set(seen(signal, torch.randn(2, 3, 8)).axes().values()) == {1}
    # Channels last in four axes: a Linear there says so, and the activation after it follows.
    channels_last = nn.Sequential(nn.Linear(3, 5), nn.GELU())
    assert set(seen(channels_last, torch.randn(2, 4, 4, 3)).axes().values()) == {3}


def test_a_layer_that_is_not_chosen_still_tells_the_axis() -> None:
    model = nn.Sequential(nn.Conv1d(3, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(30, 4))
    for _ in range(2):
        assert seen(model, torch.randn(2, 3, 8), layers=nn.ReLU).calls == [Call("1", (2, 5, 6), 1, "ReLU")]


def test_outputs_without_two_axes_have_no_neurons() -> None:
    assert seen(nn.Linear(4, 3), torch.ones(4)).calls == [Call("Linear", (3,), None, "Linear")]
    assert seen(nn.MSELoss(), torch.ones(2, 3), torch.ones(2, 3)).axes() == {"MSELoss": None}


def test_attention_is_one_layer_whose_weights_have_no_neurons() -> None:
    model = nn.MultiheadAttention(8, 2, batch_first=True)
    x = torch.randn(2, 5, 8)
    assert seen(model, x, x, x).calls == [
        Call("MultiheadAttention[0]", (2, 5, 8), 2, "MultiheadAttention"),
        Call("MultiheadAttention[1]", (2, 5, 5), None, "MultiheadAttention"),
    ]


def test_a_transformer_layer_is_recorded_in_training_and_in_evaluation() -> None:
    model = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    x = torch.randn(2, 5, 8)
    training = seen(model, x)
    assert {"linear1", "linear2", "norm1", "norm2", "self_attn[0]"} <= set(training.axes())
    model.eval()
    with torch.inference_mode():
        assert set(seen(model, x).axes()) == set(training.axes())


def test_kinds_are_those_that_the_rules_know() -> None:
    class MyTanh(nn.Tanh):
        pass

    class Swish(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * x.sigmoid()

    linear = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))
    model = nn.Sequential(linear, MyTanh(), Swish(), nn.LazyLinear(2))
    calls = seen(model, torch.ones(2, 4)).calls
    assert [(call.name, call.kind) for call in calls] == [
        ("0", "Linear"),
        ("1", "Tanh"),
        ("2", "Swish"),
        ("3", "Linear"),
    ]


def test_a_parametrised_layer_of_one_s_own_keeps_its_kind() -> None:
    class Swish(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.beta = nn.Parameter(torch.ones(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * (self.beta * x).sigmoid()

    class Double(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * x

    model, recorder = Swish(), Recorder()
    nn.utils.parametrize.register_parametrization(model, "beta", Double())
    with watch(model, recorder):
        model(torch.ones(2, 3))
    assert recorder.about["ParametrizedSwish"][1] == "Swish"
