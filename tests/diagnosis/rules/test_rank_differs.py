"""One rank unlike the others: which, in what, since when; and what ranks differ by in health."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import Row, nothing_finite, plain, row

import fastact
from fastact.diagnosis.diagnoser import Diagnoser
from fastact.diagnosis.finding import Finding
from fastact.diagnosis.ranks import Parts
from fastact.diagnosis.rules import Thresholds
from fastact.fields import ROW, ROW_DTYPE
from fastact.history import LayerInfo
from fastact.replay.blocks import Block, add_block
from fastact.replay.keyed import keyed


def merged(rows: Any, starts: Any) -> Any:
    groups = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(rows)))
    return keyed((groups,), {field.name: rows[field.name] for field in ROW}).rows()


#: What a rank's layer has in a step; None where it has nothing.
Of = Callable[[int, int], Row | None]
_NOISE = np.random.default_rng(0).normal(size=(64, 400))


def healthy(rank: int, step: int, **more: float) -> Row:
    noise = float(_NOISE[rank, step])
    return row(step, **{"mean": 0.02 * noise, "std": 1.0 + 0.1 * noise, **more})


def diagnoser(
    layers: Mapping[str, tuple[str, Of]], ranks: Sequence[int], steps: int = 40, blocks: int = 7
) -> Diagnoser:
    """A diagnoser that has seen the rows of these ranks, in blocks of so many steps."""
    result = Diagnoser(100, Thresholds())
    infos = [LayerInfo(name, order, kind, "float32") for order, (name, (kind, _)) in enumerate(layers.items())]
    for first in range(0, steps, blocks):
        groups: list[tuple[int, list[int], list[Row]]] = []
        for step in range(first, min(first + blocks, steps)):
            for number, (_, of) in enumerate(layers.values()):
                found = [(column, each) for column, rank in enumerate(ranks) if (each := of(rank, step)) is not None]
                if found:
                    groups.append((number, [column for column, _ in found], [each for _, each in found]))
        rows = np.array([each for group in groups for each in group[2]], ROW_DTYPE)
        columns = np.array([each for group in groups for each in group[1]], np.int64)
        starts = np.cumsum([0, *(len(group[1]) for group in groups)])[:-1]
        numbers = np.array([group[0] for group in groups], np.int64)
        for column in range(len(ranks)):
            own = np.flatnonzero(columns == column)
            latest = {int(np.searchsorted(starts, place, "right")) - 1: place for place in own}
            last = {int(numbers[group]): place for group, place in latest.items()}
            result.remember(ranks, column, np.array(list(last), np.int64), rows[list(last.values())], infos)
        result.compare(Parts(tuple(ranks), columns, numbers, rows, starts), infos)
        add_block(result, Block(numbers, merged(rows, starts)), infos)
    return result


def told(layers: Mapping[str, tuple[str, Of]], ranks: Sequence[int], steps: int = 40) -> list[Finding]:
    found = diagnoser(layers, ranks, steps).diagnose().findings
    return [finding for finding in found if finding.condition == "rank_differs"]


def one(odd: Of, at: int = 2) -> Of:
    return lambda rank, step: odd(rank, step) if rank == at else healthy(rank, step)


def grown(factor: float, since: int) -> Of:
    return lambda rank, step: healthy(rank, step, std=factor if step >= since else 1.0)


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 9])
def test_healthy_ranks_differ_by_noise_alone(ranks: int) -> None:
    layers: dict[str, tuple[str, Of]] = {"input": ("Input", healthy), "fc": ("Linear", healthy)}
    assert told(layers, range(ranks)) == []


@pytest.mark.parametrize("ranks", [3, 4, 9])
def test_one_rank_of_another_scale_is_named(ranks: int) -> None:
    for factor, rows, kind in ((2.5, 10, "large"), (0.3, 10, "small"), (1.7, 0, ""), (0.6, 0, "")):
        found = told({"fc": ("Linear", one(grown(factor, since=30)))}, range(ranks), 60)
        assert [(each.first_step, each.ranks, each.of_ranks, each.evidence["kind"]) for each in found] == (
            [(30, (2,), ranks, kind)] if rows else []
        )
        for each in found:
            assert f"on rank 2 of {ranks} since step 30" in each.message


def test_of_two_ranks_nobody_knows_which_is_odd() -> None:
    (found,) = told({"fc": ("Linear", one(lambda r, s: healthy(r, s, std=3.0), at=1))}, range(2))
    assert "rank" in found.message
    assert found.evidence["usual"] == pytest.approx(1.0 if found.evidence["rank"] == 1 else 3.0, abs=0.5)


def test_it_takes_rows_without_a_break() -> None:
    wide = {"fc": ("Linear", one(lambda r, s: healthy(r, s, std=5.0 if s >= 31 else 1.0)))}
    assert told(wide, range(4)) == []  # nine rows
    broken = {"fc": ("Linear", one(lambda r, s: healthy(r, s, std=5.0 if s != 35 else 1.0)))}
    assert told(broken, range(4)) == []


def test_a_short_last_batch_says_nothing() -> None:
    def short(rank: int, step: int) -> Row:
        last = step % 10 == 9
        return healthy(rank, step, count=128.0 if last else 4096.0, std=9.0 if last else 1.0)

    assert told({"fc": ("Linear", one(short))}, range(4)) == []

    def wide_but_when_short(rank: int, step: int) -> Row:
        last = step % 5 == 4
        return healthy(rank, step, count=128.0 if last else 4096.0, std=1.0 if last else 9.0)

    (found,) = told({"fc": ("Linear", one(wide_but_when_short))}, range(4))
    assert found.first_step == 0


def test_ranks_that_are_far_apart_are_no_outliers() -> None:
    spread = {"fc": ("Linear", lambda rank, step: healthy(rank, step, std=2.0**rank))}
    assert told(spread, range(7)) == []


def test_nan_on_one_rank_is_named_though_all_have_it_later() -> None:
    def falls(rank: int, step: int) -> Row:
        return nothing_finite(step) if step > 20 or (step == 20 and rank == 5) else healthy(rank, step)

    found = diagnoser({"fc": ("Linear", falls)}, range(8)).diagnose().findings
    assert [(each.condition, each.first_step, each.ranks, each.of_ranks) for each in found] == [
        ("rank_differs", 20, (5,), 8),
        ("non_finite", 20, (5,), 8),
    ]
    assert found[1].consequence_of == "fc"
    assert "on rank 5 of 8 alone, in step 20. It is on all ranks now." in found[0].message
    assert found[1].message.endswith("It began on rank 5 of 8.")


def test_nan_on_all_ranks_at_once_is_no_rank_s_own() -> None:
    found = diagnoser({"fc": ("Linear", lambda r, s: nothing_finite(s) if s > 20 else healthy(r, s))}, range(4))
    assert [(each.condition, each.ranks, each.of_ranks) for each in found.diagnose().findings] == [
        ("non_finite", (), 4)
    ]


def test_dead_on_one_rank() -> None:
    (found,) = told({"act": ("ReLU", one(lambda r, s: healthy(r, s, dead_neurons=60, silent_neurons=60)))}, range(3))
    assert (found.evidence["kind"], found.ranks) == ("dead", (2,))
    (found,) = told({"act": ("ReLU", one(lambda r, s: row(s, mean=0.0, std=0.0, zeros=4096)))}, range(3))
    assert (found.evidence["kind"], found.ranks) == ("small", (2,))


def test_another_mean_counts_of_what_the_model_is_given() -> None:
    shifted = one(lambda r, s: healthy(r, s, mean=0.8))
    first, second = told({"input": ("Input", shifted), "fc": ("Linear", one(lambda r, s: healthy(r, s, std=4.0)))},
                         range(4))  # fmt: skip
    assert (first.layer, first.evidence["kind"], first.cause_name, second.consequence_of) == (
        "input", "above", "rank_data", "input"
    )  # fmt: skip
    assert told({"fc": ("Linear", shifted)}, range(4)) == []


def copies(odd: Callable[[int, int], float]) -> dict[str, tuple[str, Of]]:
    def of(rank: int, step: int) -> Row:
        value = math.sin(step) + odd(rank, step)
        return plain(step, mean=value, std=1.0 + value / 9, abs_mean=1.0, min=-3.0, max=3.0 + value)

    return {"fc.weight": ("Parameter", of)}


def test_copies_that_were_equal_and_are_not() -> None:
    (found,) = told(copies(lambda r, s: 1e-7 if r == 3 and s >= 17 else 0.0), range(4))
    assert (found.first_step, found.ranks, found.severity, found.cause_name) == (
        17, (3,), "critical", "silent_corruption"
    )  # fmt: skip
    (found,) = told(copies(lambda r, s: r * 1e-3 if s >= 17 else 0.0), range(4))
    assert (found.first_step, found.ranks, found.cause_name) == (17, (), "not_synchronised")


def test_sums_of_bits_tell_what_moments_do_not() -> None:
    def told_of(bits: Callable[[int, int], int], **more: float) -> list[tuple[Any, ...]]:
        def of(rank: int, step: int) -> Row:
            numbers = {"mean": 1.0, "std": 0.5, "abs_mean": 1.0, "min": -3.0, "max": 3.0}
            has_bits = rank > 0 or not more
            return plain(step, **numbers | more, **({"bit_sum": bits(rank, step)} if has_bits else {}))

        found = told({"fc.weight": ("Parameter", of)}, range(4))
        return [(each.first_step, each.ranks, each.cause_name) for each in found]

    assert told_of(lambda r, s: 7 + s) == []
    assert told_of(lambda r, s: 7 + s + (r == 2 and s >= 11)) == [(11, (2,), "silent_corruption")]
    assert told_of(lambda r, s: 7 + s + r * (s >= 11)) == [(11, (), "not_synchronised")]
    # Where a rank has none, as a version before has not, all are compared by their moments.
    assert told_of(lambda r, s: 7 + s + r, mean=1.0) == []


def test_rounding_of_moments_does_not_part_copies_with_the_same_bits() -> None:
    def of(rank: int, step: int) -> Row:
        return plain(step, mean=1.0 + 1e-9 * rank * (step > 5), std=0.5, min=-3.0, max=3.0, bit_sum=9)

    assert told({"fc.weight": ("Parameter", of)}, range(4)) == []


def test_one_flipped_bit_among_the_weights_of_four_ranks_is_found(tmp_path: Path) -> None:
    weight = 1.0 + 0.01 * np.random.default_rng(0).standard_normal((64, 200)).astype(np.float32)
    weight[0, :2] = 0.0, 1e-3  # neither the least nor the largest: the moments are the same to 1e-13
    for rank in range(4):
        with fastact.ActivationMonitor(tmp_path, rank=rank, ranks=4) as monitor:
            for step in range(12):
                copy = weight + np.float32(step)
                if rank == 2 and step >= 8:
                    copy.view(np.uint32)[0, 1] ^= 1
                monitor.record("fc.weight", copy, axis=0, layer_type="Parameter")
                monitor.step()
    (found,) = fastact.open_log(tmp_path).diagnose().findings
    assert (found.layer, found.condition, found.first_step, found.ranks) == ("fc.weight", "rank_differs", 8, (2,))
    assert found.cause_name == "silent_corruption"


def test_parts_of_parameters_and_averaged_models_are_no_copies() -> None:
    assert told(copies(lambda r, s: 0.0), range(4)) == []
    assert told(copies(lambda r, s: float(r)), range(4)) == []
    assert told(copies(lambda r, s: 0.1 * r * (s % 8)), range(4)) == []


def test_other_findings_name_their_ranks() -> None:
    def saturated(rank: int, step: int) -> Row:
        high = rank > 0 and step > 5
        return healthy(rank, step, saturated=4000 if high else 0, saturated_neurons=64 if high else 0)

    found = diagnoser({"act": ("Tanh", saturated)}, range(4)).diagnose().findings
    names: dict[str, Any] = {each.condition: (each.ranks, each.of_ranks) for each in found}
    assert names == {"saturated": ((1, 2, 3), 4)}
    assert "ranks 1, 2 and 3 of 4" in found[0].message


def test_ranks_that_hold_no_part_of_a_layer_do_not_count() -> None:
    def pipeline(which: int) -> Of:
        return lambda rank, step: healthy(rank, step, std=10.0**which) if rank == which else None

    assert told({str(stage): ("Linear", pipeline(stage)) for stage in range(3)}, range(3)) == []
