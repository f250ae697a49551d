"""Bitmaps of neurons: written and read as they were, bounded, thinned, merged over ranks, told in plain numbers."""

import json

import numpy as np
import pytest

from fastact.neurons import (
    MOST_NEURONS,
    Neurons,
    Snapshot,
    from_json,
    merged,
    neurons_schema,
    ranges,
    snapshot,
    thinned,
    to_json,
)

DEAD_AFTER = 100


def made(step: int, dead: list[int], silent: list[int] | None = None, neurons: int = 20) -> Snapshot:
    silence = np.zeros(neurons, np.int64)
    silence[silent or dead] = 1
    silence[dead] = DEAD_AFTER
    return snapshot(step, silence, DEAD_AFTER)


def read_again(found: Snapshot, name: str = "act") -> Snapshot:
    text = to_json(name, found)
    assert len(text) < 8192 + 200
    ((layer, again),) = from_json(f"[{text}]")
    assert layer == name
    return again


@pytest.mark.parametrize("neurons", [1, 7, 8, 9, 1000])
def test_what_is_written_is_read_again(neurons: int) -> None:
    random = np.random.default_rng(neurons)
    found = snapshot(3, random.integers(0, 2 * DEAD_AFTER, neurons), DEAD_AFTER)
    assert read_again(found, "a\x1b é\n") == found
    assert read_again(made(0, [], neurons=neurons)).dead == bytes(-(-neurons // 8))


def test_a_wide_layer_is_kept_in_part_and_says_so() -> None:
    random = np.random.default_rng(0)
    few = np.zeros(3 * MOST_NEURONS, np.int64)
    few[[5, 2000, MOST_NEURONS - 1, MOST_NEURONS + 3]] = DEAD_AFTER
    found = Neurons.of("t", "Usage", [read_again(snapshot(1, few, DEAD_AFTER))])
    assert (found.neurons, found.covered) == (3 * MOST_NEURONS, MOST_NEURONS)
    assert found.dead_now.tolist() == [5, 2000, MOST_NEURONS - 1]
    many = random.integers(0, 2 * DEAD_AFTER, MOST_NEURONS)  # which nothing makes smaller
    found = Neurons.of("t", "Usage", [read_again(snapshot(1, many, DEAD_AFTER))])
    assert 20_000 < found.covered < MOST_NEURONS == found.neurons
    assert np.array_equal(found.dead[0], many[: found.covered] >= DEAD_AFTER)
    assert np.array_equal(found.silent[0], many[: found.covered] > 0)


@pytest.mark.parametrize(
    "text",
    [
        "{", "{}x", "[3]", "[{}]", '[{"layer": 1}]', "3",
        '[{"layer": "a", "step": 0, "neurons": 8, "dead": "", "silent": "!"}]',
        '[{"layer": "a", "step": 0, "neurons": 8, "dead": "", "silent": "eJw="}]',
        '[{"layer": "a", "step": -1, "neurons": 8, "dead": "", "silent": ""}]',
        '[{"layer": "a", "step": 0, "neurons": 8, "covered": 9, "dead": "", "silent": ""}]',
        '[{"layer": "a", "step": 0, "neurons": 1e9, "dead": "", "silent": ""}]',
        f'[{{"layer": "a", "step": 0, "neurons": {1 << 40}, "dead": "", "silent": ""}}]',
        "[" * 100_000,
    ],
)  # fmt: skip
def test_nonsense_is_refused_and_takes_no_memory(text: str) -> None:
    with pytest.raises(ValueError):
        from_json(text)


def test_a_bitmap_that_inflates_to_more_is_refused() -> None:
    text = to_json("a", made(0, [1], neurons=80_000)).replace("80000", "8")
    with pytest.raises(ValueError, match="a bitmap of 2 bytes, want 1"):
        from_json(f"[{text}]")


def test_thinning_keeps_the_first_and_the_last_ones() -> None:
    steps: list[int] = []
    found: list[Snapshot] = []
    for step in range(1000):
        found = thinned([*found, made(step, [])], 64)
        steps = [each.step for each in found]
        assert len(steps) <= 64
        assert steps[0] == 0
        assert steps[-16:] == list(range(max(0, step - 15), step + 1))
    assert len(steps) > 40
    assert max(np.diff(steps)) < 100


def test_what_it_tells() -> None:
    parts = [made(10, [3]), made(20, [4], [4, 9]), made(30, [3, 4, 5]), made(40, [4, 5, 6], [4, 5, 6, 7])]
    found = Neurons.of("act", "ReLU", parts)
    assert found.steps.tolist() == [10, 20, 30, 40]
    assert found.dead_now.tolist() == [4, 5, 6]
    assert found.dead_since.tolist() == [20, 30, 40]
    assert found.silent_now.tolist() == [4, 5, 6, 7]
    assert found.dead.shape == (4, 20)
    assert repr(found) == "Neurons('act', 3 of 20 dead at step 40, snapshots=4)"
    told = json.loads(json.dumps(found.to_dict()))
    assert told["dead"] == [4, 5, 6]
    assert told["dead_at"] == [[[3, 3]], [[4, 4]], [[3, 5]], [[4, 6]]]
    assert told["silent_at"][1] == [[4, 4], [9, 9]]
    assert list(told) == neurons_schema()["required"]


def test_of_nothing_and_of_another_width() -> None:
    nothing = Neurons.of("act", "", [])
    assert nothing.to_dict()["dead"] == nothing.to_dict()["dead_since"] == []
    assert (nothing.neurons, nothing.to_dict()["step"]) == (0, None)
    assert Neurons.of("act", "", [made(1, [1], neurons=5), made(2, [2], neurons=9)]).steps.tolist() == [2]


def test_over_ranks_a_neuron_is_dead_where_it_is_so_on_all() -> None:
    first = {1: made(1, [1, 2, 3]), 2: made(2, [1, 2]), 3: made(3, [1])}
    second = {1: made(1, [2, 3, 4]), 3: made(3, [1, 7]), 4: made(4, [1])}
    assert merged([first, second]) == [made(1, [2, 3]), made(3, [1])]
    assert merged([first, {1: made(1, [1], neurons=4)}]) == []
    assert merged([]) == []


def test_ranges() -> None:
    assert ranges([]) == ""
    assert ranges([4]) == "4"
    assert ranges(np.array([0, 1, 2, 9, 11, 12])) == "0-2, 9, 11-12"
    assert ranges([0, 2, 3, 5], most=1) == "0 and 3 more"
