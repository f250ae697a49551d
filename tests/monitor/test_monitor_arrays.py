"""NumPy arrays that come again and again are swept by the plan of the first, with what `summarize` finds."""

from typing import Any

import numpy as np
import pytest

import fastact
from fastact import ActivationMonitor
from fastact.stats import fast_path


def test_an_array_like_the_last_is_swept_by_its_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    planned: list[bool] = []
    sweep = fast_path.PlanCache.sweep

    def watched(self: Any, *arguments: Any) -> Any:
        found = sweep(self, *arguments)
        planned.append(found is not None)
        return found

    monkeypatch.setattr(fast_path.PlanCache, "sweep", watched)
    random = np.random.default_rng(0)
    base = random.standard_normal((40, 12)).astype(np.float32)
    read_only = base * 3
    read_only.flags.writeable = False
    like = {
        "another": (base + 1, True), "again": (base * 2, True), "Fortran's order": (np.asfortranarray(base), False),
        "strided": (np.repeat(base, 2, axis=0)[::2], False), "other byte order": (base.astype(">f4"), False),
        "other shape": (base[:20].copy(), False), "other dtype": (base.astype(np.float64), False),
        "read-only": (read_only, False), "a list's": (base[:, ::-1], False),
    }  # fmt: skip
    for what, (x, fits) in like.items():
        with ActivationMonitor() as monitor:
            for _ in range(2):
                monitor.record("layer", base, axis=1)
            planned.clear()
            got: Any = monitor.record("layer", x, axis=1)
            assert planned == [fits], what
            assert got == fastact.summarize(x, axis=1).total, what
            monitor.step()
            assert monitor.history["layer"]["count"].tolist() == [2 * base.size + x.size]
            with pytest.warns(RuntimeWarning, match="neurons along axis 0"):
                other: Any = monitor.record("layer", x, axis=0)  # along another axis
            assert other == fastact.summarize(x, axis=0).total
