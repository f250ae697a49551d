"""Ranks that have layers of their own: each counts from 0, and together they are one network in forward order."""

from pathlib import Path

from replay_runs import rows_of_a_sick_run, write

from fastact.history import LayerInfo
from fastact.replay.log import open_log
from fastact.replay.ranks import forward_order


def infos(*names: str) -> list[LayerInfo]:
    return [LayerInfo(name, place) for place, name in enumerate(names)]


def in_order(*ranks: list[LayerInfo]) -> list[str]:
    found = forward_order(ranks)
    return sorted(found, key=lambda name: found[name])


def test_a_pipeline_that_counts_from_0_on_each_rank_does_not_mix(tmp_path: Path) -> None:
    for rank, start in enumerate("ab"):
        rows = [
            (LayerInfo(f"{start}.{info.order}", info.order, info.layer_type, "float32"), row)
            for info, row in rows_of_a_sick_run(20)
        ]
        write(tmp_path / f"rank-{rank:05d}", rows)
    log = open_log(tmp_path)
    want = ["a.0", "a.1", "a.2", "b.0", "b.1", "b.2"]
    assert [info.name for info in log.layers] == want
    assert [layer.name for layer in log.diagnose().layers] == want
    assert [info.order for info in log.layers] == list(range(6))
    assert [layer.name for layer in log.diagnose(rank=1).layers] == want[3:]
    assert {name: stats.count for name, stats in log.aggregate().items()}.keys() == set(want)


def test_what_a_rank_alone_has_comes_before_what_it_shares() -> None:
    assert in_order(infos("stem", "e0", "e1", "head"), infos("stem", "e2", "e3", "head")) == [
        "stem", "e0", "e1", "e2", "e3", "head"
    ]  # fmt: skip
    assert in_order(infos("a"), infos("b"), infos("c", "d")) == ["a", "b", "c", "d"]


def test_places_that_fit_together_stay() -> None:
    assert forward_order([infos("a", "b"), infos("a", "b")]) == {}
    assert forward_order([infos("a", "b"), [LayerInfo("c", 2), LayerInfo("d", 3)]]) == {}
