"""Codes of a codebook that are never chosen, and rows of tables whose index the data chose."""

from typing import Any

import numpy as np
import pytest

import fastact
from fastact import ActivationMonitor
from fastact.diagnosis.finding import Finding


def told(counts: list[Any], layer_type: str = "Usage", *, own_rows: bool = True) -> list[Finding]:
    return list(diagnosed(counts, layer_type, own_rows=own_rows).findings)


def diagnosed(counts: list[Any], layer_type: str = "Usage", *, own_rows: bool = True, name: str = "vq.codebook") -> Any:
    rng = np.random.default_rng(0)
    with ActivationMonitor() as monitor:
        for each in counts:
            if own_rows:
                vectors = rng.standard_normal((64, 8)).astype(np.float32)
                monitor.record(name, vectors, axis=-1, layer_type="Embedding")
            monitor.record(f"{name}:usage", np.array(each)[None], axis=-1, layer_type=layer_type)
            monitor.step()
        return monitor.diagnose()


def lookups(codes: int, used: int, n: int, steps: int, seed: int = 0) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [np.bincount(rng.integers(0, used, n), minlength=codes) for _ in range(steps)]


def test_codes_that_are_never_chosen_are_one_finding_of_the_codebook() -> None:
    (finding,) = told(lookups(256, 38, 128, 60))
    assert (finding.layer, finding.severity, finding.first_step) == ("vq.codebook", "serious", 0)
    assert finding.message == (
        "vq.codebook (Embedding) has been partly unused since step 0: 218 of its 256 codes (85%) were never chosen in "
        "the last 40 rows (5,120 lookups)."
    )
    assert finding.cause_name == "codes_never_chosen"
    assert finding.remedies[0].startswith("restart codes")


def test_a_table_without_rows_of_its_own_is_named_too() -> None:
    (finding,) = told(lookups(256, 38, 128, 60), own_rows=False)
    assert finding.layer == "vq.codebook:usage"
    assert finding.message.startswith("vq.codebook has been partly unused")


@pytest.mark.parametrize(("used", "severity"), [(130, None), (126, "warning"), (54, "warning"), (50, "serious")])
def test_the_bands(used: int, severity: str | None) -> None:
    assert [finding.severity for finding in told(lookups(256, used, 256, 99))] == ([severity] if severity else [])


def test_it_waits_for_twenty_lookups_of_each_code_however_many_rows_they_take() -> None:
    sick = lookups(512, 20, 32, 330)  # 32 lookups of 512 codes: 16 rows for one each
    early = diagnosed(sick[:300])
    assert early.healthy
    assert "unused" in next(layer for layer in early.layers if layer.name.endswith(":usage")).not_judged
    (finding,) = told(sick)
    assert finding.first_step == 0  # which has left the window


def test_an_even_codebook_is_healthy_at_any_batch_size() -> None:
    for n in (1, 16, 4096):
        assert told(lookups(64, 64, n, 400)) == []


def test_codes_that_are_restarted_are_in_use() -> None:
    # Each half of them for 15 steps.
    halves = lookups(256, 128, 256, 300)
    assert told([np.roll(each, 128 * (step // 15 % 2)) for step, each in enumerate(halves)]) == []


def test_what_is_chosen_no_more_is_dated_to_when_it_was_last() -> None:
    counts = lookups(128, 128, 512, 50) + lookups(128, 10, 512, 50)
    (finding,) = told(counts)
    assert finding.first_step in range(45, 53)


def test_words_that_the_data_does_not_have_are_noted_where_they_are_nearly_all() -> None:
    for used, noted in ((40, False), (4, True)):
        diagnosis = diagnosed(lookups(256, used, 4096, 60), "Vocabulary", name="words")
        assert diagnosis.healthy
        assert [note.condition for note in diagnosis.notes] == (["unused"] if noted else [])


def test_a_codebook_by_its_name_is_one_where_it_was_not_seen_who_chose() -> None:
    assert not diagnosed(lookups(256, 40, 4096, 60), "Vocabulary").healthy


def test_counts_are_judged_by_nothing_else() -> None:
    counts = [np.where(np.arange(64) == step % 3, 10**6 * (step % 7), 1) for step in range(60)]
    diagnosis = diagnosed(counts)
    assert diagnosis.healthy
    assert [layer.not_judged for layer in diagnosis.layers if layer.kind == "Usage"] == [()]


def test_a_replayed_log_says_the_same(tmp_path: Any) -> None:
    with ActivationMonitor(tmp_path) as monitor:
        for each in lookups(256, 38, 128, 60):
            monitor.record("codebook:usage", each[None], axis=-1, layer_type="Usage")
            monitor.step()
        live = monitor.diagnose()
    assert live.findings
    assert fastact.open_log(tmp_path).diagnose() == live
