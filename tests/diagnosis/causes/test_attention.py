"""Why attention cannot choose: weights or inputs that make its scores large, a mask that hides all, places alike."""

from typing import Any

import pytest
import torch
from synthetic import nothing_finite, row, watch
from torch import nn

import fastact
import fastact.torch
from fastact.diagnosis.finding import Finding


class Block(nn.Module):
    """Attention as a module, after a normalisation whose scale says how large what it is given is."""

    def __init__(self, gain: float = 1.0, given: float = 1.0, **options: Any) -> None:
        super().__init__()
        self.norm, self.attn = nn.LayerNorm(16), nn.MultiheadAttention(16, 2, batch_first=True, **options)
        with torch.no_grad():
            self.norm.weight.fill_(given)
            for name, weight in self.attn.named_parameters():
                if weight.ndim > 1 and not name.startswith("out"):
                    weight.mul_(gain)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(x)
        y: torch.Tensor = self.attn(x, x, x, need_weights=False)[0]
        return y


def said(model: nn.Module) -> list[tuple[str, str, str]]:
    with fastact.ActivationMonitor() as monitor, fastact.torch.watch(model, monitor):
        for _ in range(6):
            model(torch.randn(8, 12, 16))
            monitor.step()
        return [(f.layer, f.condition, f.cause_name) for f in monitor.diagnose().findings]


@pytest.mark.parametrize("options", [{}, {"dtype": torch.float64}])
def test_attention_whose_weights_or_inputs_are_too_large(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(Block(**options)).to(options.get("dtype", torch.float32))
    torch.set_default_dtype(options.get("dtype", torch.float32))
    try:
        assert said(model) == []
        assert said(Block(gain=10.0, **options)) == [("attn[0]", "collapsed", "initialisation")]
        assert said(Block(given=10.0, **options)) == [("attn[0]", "collapsed", "inputs_not_normalised")]
        # One of three may look at one place from the start.
        model = nn.Sequential(Block(gain=10.0, **options), Block(**options), Block(**options))
        assert said(model) == []
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_scores_of_attention_are_as_large_as_its_weights_say() -> None:
    torch.manual_seed(0)
    attn = nn.MultiheadAttention(64, 4, batch_first=True)
    x = torch.randn(8, 32, 64)
    with fastact.ActivationMonitor() as monitor, fastact.torch.watch(nn.Sequential(attn), monitor):
        attn(x, x, x)
        monitor.step()
        facts = monitor.history["0[0]"].info.facts
    queries, keys = ((x @ w.T).unflatten(-1, (4, 16)).transpose(1, 2) for w in attn.in_proj_weight.chunk(3)[:2])
    scores = queries @ keys.transpose(-1, -2) / 16**0.5
    assert facts["features"] == 16
    assert facts["gain"] == pytest.approx(float(scores.detach().std()), rel=0.1)


def even(within: float, uneven: float) -> list[Finding]:
    """A softmax of 12 places that weighs all alike, made of queries and keys of which that share is between places."""
    made = [row(step, std=1.0, within_std=within) for step in range(120)]
    grown = [row(step, std=1.0 + step / 50, within_std=0.9) for step in range(120)]
    mean = 1 / 12
    weights = [
        row(step, neurons=12, mean=mean, std=uneven * mean, min=0.9 * mean, max=1.1 * mean, within_std=uneven * mean)
        for step in range(120)
    ]
    layers = {"a.q": ("Linear", made), "a.k": ("Linear", made), "a.softmax": ("Softmax", weights)}
    diagnosis = watch({**layers, "b": ("Linear", grown), "out": ("Linear", grown)}).diagnose()
    return [each for each in diagnosis.findings if each.layer == "a.softmax"]


@pytest.mark.parametrize(
    ("within", "uneven", "cause", "confidence"),
    [
        (0.9, 0.0, "masked_row", "certain"),  # what differs is weighed alike to the last digit
        (0.05, 0.0, "depth", "likely"),
        (0.05, 1e-4, "depth", "likely"),
        (0.9, 1e-4, "attention_scale", "possible"),
    ],
)
def test_why_all_places_are_weighed_alike(within: float, uneven: float, cause: str, confidence: str) -> None:
    (finding,) = even(within, uneven)
    assert (finding.cause_name, finding.confidence) == (cause, confidence)


def test_rows_without_a_number_at_first_are_a_mask_s_though_the_first_row_has_left_the_window() -> None:
    layers = {
        "norm": ("LayerNorm", [row(step) if step < 1 else nothing_finite(step) for step in range(30)]),
        "attn[0]": ("MultiheadAttention", [row(0, nans=100), *(nothing_finite(step) for step in range(1, 30))]),
    }
    (culprit,) = watch(layers, window_size=8).diagnose().culprits
    assert (culprit.layer, culprit.cause_name, culprit.first_step) == ("attn[0]", "masked_row", 0)
