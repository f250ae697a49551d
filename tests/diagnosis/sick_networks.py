"""Small networks whose layers fall sick at any time, whatever their inputs and gradients do: rows of any story."""

import math
from typing import Any, Final

from hypothesis import strategies as st
from synthetic import NO_NEURONS, nothing_finite, row

from fastact.diagnosis import layer_types
from fastact.diagnosis.diagnoser import Diagnoser
from fastact.diagnosis.layer_types import EVALUATION_SUFFIX, GRADIENT_SUFFIX
from fastact.history import LayerInfo

STEPS: Final = 60


def _event(name: str, step: int, since: int) -> dict[str, float]:
    """What a row has other than a healthy one, `step - since` steps after something happened to the layer."""
    age = step - since
    size = 1.0
    if name == "grows":
        size = 10.0 ** min(0.5 * age, 30.0)
    elif name == "shrinks":
        size = 0.5 ** min(age, 60)
    elif name in ("large", "small", "tiny"):
        size = {"large": 1e3, "small": 1e-3, "tiny": 1e-9}[name]
    elif name == "swings":
        size = 20.0 if age % 2 else 1.0
    scaled = {"mean": 0.1 * size, "std": size, "abs_mean": 0.8 * size, "min": -3.0 * size, "max": 3.0 * size,
              "within_std": 0.9 * size}  # fmt: skip
    stories: dict[str, dict[str, float]] = {
        "dead": {"zeros": 3600, "silent_neurons": 56, "dead_neurons": 56 if age >= 20 or since == 0 else 0},
        "zero": {"zeros": 4096, "silent_neurons": 64, "dead_neurons": 64 if age >= 20 or since == 0 else 0, "mean": 0.0,
                 "std": 0.0, "abs_mean": 0.0, "min": 0.0, "max": 0.0, "within_std": 0.0},
        "saturated": {"saturated": 4000, "saturated_neurons": 62, "min": -1.0, "max": 1.0, "mean": 0.0, "std": 0.98},
        "alike": {"constant_neurons": 64, "within_std": 0.0},
        "faint": {"within_std": 1e-5},
        "nan": {"nans": 7},
        "inf": {"pos_infs": 7},
        "moves": {"mean": 9.0},
    }  # fmt: skip
    return stories.get(name, scaled)


EVENTS: Final = (
    "healthy", "dead", "zero", "saturated", "alike", "faint", "nan", "inf", "gone", "moves", "grows", "shrinks",
    "large", "small", "tiny", "swings",
)  # fmt: skip
TYPES: Final = (
    "Linear",
    "ReLU",
    "Tanh",
    "Sigmoid",
    "BatchNorm1d",
    "LayerNorm",
    "Dropout",
    "GELU",
    "LSTM",
    "Flatten",
    "",
)
OF_INPUTS: Final = ("healthy", "healthy", "zero", "alike", "nan", "large", "small", "moves", "swings")


@st.composite
def sick_networks(draw: st.DrawFn) -> Diagnoser:
    """A network of three to six layers that has run for a while."""
    window = draw(st.sampled_from([20, 100]))
    diagnoser = Diagnoser(window)
    dtype = draw(st.sampled_from(["float32", "float16"]))
    # A story that many layers share since one time, and stories of their own.
    shared, at = draw(st.sampled_from(EVENTS)), draw(st.sampled_from([0, 0, 1, 7, 30]))
    given = draw(st.sampled_from([*OF_INPUTS, None]))
    told: list[tuple[LayerInfo, str, int, dict[str, Any]]] = []

    def add(name: str, kind: str, event: str, since: int, **more: Any) -> None:
        told.append((LayerInfo(name, len(told), kind, dtype, **more), event, since, {}))

    if given is not None:
        add("input", layer_types.INPUT, given, draw(st.sampled_from([0, at])))
    names = [str(i) for i in range(draw(st.integers(3, 6)))]
    for name in names:
        event = shared if draw(st.booleans()) else draw(st.sampled_from(["healthy", draw(st.sampled_from(EVENTS))]))
        add(name, draw(st.sampled_from(TYPES)), event, at if event == shared else draw(st.integers(0, 40)))
    if draw(st.booleans()):
        for name in names:
            event = draw(st.sampled_from(["healthy", "healthy", "nan", "tiny", "grows"]))
            add(name + GRADIENT_SUFFIX, layer_types.GRADIENT, event, draw(st.sampled_from([0, at, at + 1])))
    if draw(st.booleans()):
        for info, event, since, _ in [each for each in told if each[0].layer_type != layer_types.GRADIENT]:
            event = draw(st.sampled_from([event, "large", "dead"]))
            add(info.name + EVALUATION_SUFFIX, info.layer_type, event, since, mode="evaluation")
    plain = draw(st.booleans())
    for info, event, since, _ in told:
        diagnoser.add(info)
        for step in range(4 if info.mode else 0, STEPS, 5 if info.mode else 1):
            if step >= since and event == "gone":
                diagnoser.append(info.name, nothing_finite(step))
                continue
            numbers = _event(event if step >= since else "healthy", step, since)
            wave = 1.0 + 0.02 * math.sin(7.0 * step + info.order)
            numbers = {key: value * wave if key == "std" else value for key, value in numbers.items()}
            diagnoser.append(info.name, row(step, **(numbers | (NO_NEURONS if plain else {}))))
    return diagnoser
