"""How often each row of a table is looked up is recorded, with who chose the rows."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import fastact
from fastact.torch import usage, watch


class Quantiser(nn.Module):
    """Looks up the code that is nearest to each vector, in one of the ways in which that is written."""

    def __init__(self, way: str, codes: int = 16) -> None:
        super().__init__()
        self.way = way
        self.codes = nn.Embedding(codes, 4)
        self.averages: torch.Tensor
        self.register_buffer("averages", torch.randn(codes, 4))
        self.weight = nn.Parameter(torch.randn(codes, 4))
        self.index = torch.zeros(0)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return getattr(self, self.way)(z)  # type: ignore[no-any-return]

    def nearest(self, z: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        self.index = torch.cdist(z, table).argmin(-1)
        return self.index

    def module(self, z: torch.Tensor) -> Any:
        return self.codes(self.nearest(z, self.codes.weight))

    def module_of_a_view(self, z: torch.Tensor) -> Any:
        with torch.no_grad():
            self.index = (z @ self.codes.weight.t()).max(-1)[1]
        return self.codes(self.index.view(2, -1)).flatten(0, 1)

    def function(self, z: torch.Tensor) -> Any:
        return functional.embedding(self.nearest(z.detach(), self.averages), self.averages.t().t())

    def selection(self, z: torch.Tensor) -> Any:
        return self.weight[self.nearest(z, self.weight)]

    def selection_of_a_module(self, z: torch.Tensor) -> Any:
        return self.codes.weight[self.nearest(z, self.codes.weight)]


class Model(nn.Module):
    def __init__(self, way: str) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(50, 4), nn.Embedding(12, 4)
        self.encoder, self.quantiser = nn.Linear(4, 4), Quantiser(way)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.words(x) + self.places(torch.arange(x.shape[1]))
        result: torch.Tensor = self.quantiser(self.encoder(hidden).flatten(0, 1))
        return result


def counted(monitor: fastact.ActivationMonitor, name: str) -> tuple[str, int, float]:
    """The type, the rows of the table, and how many look-ups the last row counts."""
    layer = monitor.history[name]
    row = layer.rows[-1]
    return layer.info.layer_type, int(row["neurons"]), round(float(row["mean"] * row["count"]))


@pytest.mark.parametrize(
    ("way", "name"),
    [
        ("module", "quantiser.codes:usage"),
        ("module_of_a_view", "quantiser.codes:usage"),
        ("function", "quantiser.averages:usage"),
        ("selection", "quantiser:usage"),
        ("selection_of_a_module", "quantiser.codes:usage"),
    ],
)
def test_codes_that_a_quantiser_chooses_are_told_from_words_that_the_data_has(way: str, name: str) -> None:
    model = Model(way)
    with fastact.ActivationMonitor() as monitor, watch(model, monitor) as handle:
        for _ in range(3):
            model(torch.randint(0, 50, (4, 6)))
            monitor.step()
        assert handle.failures == 0
        assert {row for row in monitor.history if row.endswith(":usage")} == {"words:usage", "places:usage", name}
        assert counted(monitor, "words:usage") == ("Vocabulary", 50, 24)
        assert counted(monitor, "places:usage") == ("Vocabulary", 12, 6)
        assert counted(monitor, name) == ("Usage", 16, 24)
        want = torch.bincount(model.quantiser.index.long(), minlength=16)
        row = monitor.history[name].rows[-1]
        assert (row["count"], row["zeros"], row["max"]) == (16, (want == 0).sum(), want.max())
        assert row["silent_neurons"] == (want == 0).sum()


def test_look_ups_of_one_step_are_counted_together() -> None:
    table = nn.Embedding(4, 2)
    with fastact.ActivationMonitor() as monitor, watch(table, monitor):
        for index in ([0, 0, 1], [1, 2]):
            table(torch.tensor(index))
        monitor.step()
        row = monitor.history["Embedding:usage"].rows[0]
        # Each look-up is a sample.
        assert (row["count"], row["zeros"], row["silent_neurons"], row["mean"] * row["count"]) == (8, 4, 1, 5)


def test_the_counts_of_a_large_table_are_added_up_before_they_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "EVERY_TIME", 4)
    table = nn.Embedding(12, 2)
    with fastact.ActivationMonitor() as monitor, watch(table, monitor):
        for step in range(7):
            table(torch.tensor([step, 11]))
            monitor.step()
        rows = monitor.history["Embedding:usage"].rows
        assert rows["step"].tolist() == [2, 5]
        assert (rows["zeros"].tolist(), rows["max"].tolist()) == ([8, 8], [3.0, 3.0])


def test_a_table_that_is_too_large_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "MOST_ROWS", 10)
    table = nn.Embedding(11, 2)
    with fastact.ActivationMonitor() as monitor, watch(table, monitor):
        for _ in range(6):  # a warning would be an error
            table(torch.tensor([0]))
            monitor.step()
        reason = "its table has 11 rows, and look-ups of at most 10 are counted"
        assert monitor.unseen == {"Embedding:usage": reason} == dict(monitor.diagnose().unseen)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_bags_are_counted_by_their_indices(dtype: torch.dtype) -> None:
    table = nn.EmbeddingBag(5, 2)
    with fastact.ActivationMonitor() as monitor, watch(table, monitor):
        table(torch.tensor([0, 0, 3, 4], dtype=dtype), offsets=torch.tensor([0, 2], dtype=dtype))
        table(input=torch.tensor([[0, 1]], dtype=dtype))
        monitor.step()
        assert counted(monitor, "EmbeddingBag:usage") == ("Vocabulary", 5, 6)


def test_a_table_whose_indices_are_not_its_rows_is_not_counted() -> None:
    class Shifted(nn.Embedding):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x - 1000)

    table = Shifted(5, 2)
    with fastact.ActivationMonitor() as monitor, watch(table, monitor) as handle:
        table(torch.tensor([1000, 1004]))
        monitor.step()
        assert (list(monitor.history), handle.failures) == (["Shifted"], 0)


def test_a_vector_that_the_data_has_as_one_hot_is_no_choice() -> None:
    class OneHot(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(5, 2)

        def forward(self, x: torch.Tensor) -> Any:
            return self.table(x.argmax(-1))

    model = OneHot()
    with fastact.ActivationMonitor() as monitor, watch(model, monitor):
        model(torch.eye(5))
        monitor.step()
        assert counted(monitor, "table:usage") == ("Vocabulary", 5, 5)


def test_evaluation_and_repeated_passes_are_not_counted() -> None:
    model = nn.Sequential(nn.Embedding(5, 2), nn.Linear(2, 2))
    with fastact.ActivationMonitor() as monitor, watch(model, monitor):
        x = torch.tensor([0, 1])
        torch.utils.checkpoint.checkpoint(model, x, use_reentrant=False).sum().backward()
        model.eval()
        with torch.inference_mode():
            model(x)
        model.train()
        monitor.step()
        assert counted(monitor, "0:usage") == ("Vocabulary", 5, 2)
        with torch.inference_mode():
            model(x)
        model(x)
        monitor.step()
        assert counted(monitor, "0:usage") == ("Vocabulary", 5, 4)


def test_compiled_code_counts_too() -> None:
    torch._dynamo.reset()
    model = nn.Sequential(nn.Embedding(5, 2), nn.Linear(2, 2))
    compiled: Any = torch.compile(model, backend="eager", fullgraph=True)
    with fastact.ActivationMonitor() as monitor, watch(compiled, monitor) as handle:
        for _ in range(3):
            compiled(torch.tensor([0, 1, 1]))
            monitor.step()
        assert (counted(monitor, "0:usage"), handle.failures) == (("Vocabulary", 5, 3), 0)


def test_a_model_with_a_prefix_has_it_before_its_tables() -> None:
    model = nn.ModuleDict({"encoder": nn.Linear(4, 4), "quantiser": Quantiser("selection")})
    with fastact.ActivationMonitor() as monitor, watch(model, monitor, prefix="a."):
        model["quantiser"](model["encoder"](torch.randn(3, 4)))
        monitor.step()
        assert counted(monitor, "a.quantiser:usage") == ("Usage", 16, 3)


def test_choices_whose_memory_is_gone_are_forgotten() -> None:
    choices = usage.Choices()
    for _ in range(1000):
        choices.add((torch.randn(3, requires_grad=True),), torch.arange(3))
    kept = torch.arange(3)
    choices.add((torch.randn(3, requires_grad=True),), (torch.randn(3), kept))
    assert len(choices._found) <= 65
    assert choices.has(kept[1:], True)
    assert not choices.has(torch.arange(3), True)


def test_the_counts_are_what_a_loop_of_ones_own_would_record() -> None:
    with fastact.ActivationMonitor() as monitor:
        counts = torch.bincount(torch.tensor([0, 0, 2]), minlength=4)
        monitor.record("codes:usage", counts[None], axis=-1, layer_type="Usage")
        monitor.step()
        assert counted(monitor, "codes:usage") == ("Usage", 4, 3)


def test_a_look_up_by_a_module_is_counted_once() -> None:
    # A quantiser's `nn.Embedding` calls the function too, by which other tables are looked up.
    model = Quantiser("module")
    with fastact.ActivationMonitor() as monitor, watch(model, monitor):
        model(torch.randn(10, 4))
        monitor.step()
    (row,) = monitor.history["codes:usage"].rows
    assert row["count"] == row["neurons"] == 16
    assert row["mean"] * row["count"] == pytest.approx(10)
