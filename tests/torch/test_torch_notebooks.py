"""A notebook's cell that is run again, and evaluation between two steps: by the shell and the hooks themselves."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import fastact
import fastact.torch
from fastact import ActivationMonitor, open_log

pytest.importorskip("IPython")

_CELL = """
monitor = fastact.ActivationMonitor(path)
fastact.torch.watch(model, monitor)
for _ in range({steps}):
    model(torch.ones(4, 3)).sum().backward()
    monitor.step()
monitor.flush()
{error}
"""


def test_a_cell_that_is_run_again_takes_its_run_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from IPython.core.interactiveshell import InteractiveShell

    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    shell: Any = InteractiveShell()  # type: ignore[no-untyped-call]
    shell.user_ns |= {"fastact": fastact, "torch": torch, "model": model, "path": str(tmp_path)}
    monitors = []
    for steps, error in ((3, "raise KeyboardInterrupt"), (2, ""), (5, "")):
        with caplog.at_level(logging.WARNING, "fastact"):
            shell.run_cell(_CELL.format(steps=steps, error=error))
        monitors.append(shell.user_ns["monitor"])
    assert [monitor.closed for monitor in monitors] == [True, True, False]
    assert sum("was still open in this process" in message for message in caplog.messages) == 2
    assert sum(len(module._forward_hooks) for module in model.modules()) <= 2 * len(list(model.modules()))
    monitors[-1].release()
    assert not any(module._forward_hooks for module in model.modules())
    rows = [[record.step for record in open_log(tmp_path, session=n).replay(layers="1")] for n in range(3)]
    assert rows == [[0, 1, 2], [0, 1], [0, 1, 2, 3, 4]]
    assert all(layer["count"].tolist() == [16] * 5 for name, layer in monitors[-1].history.items() if name == "1")
    shell.reset()


def test_evaluation_between_two_steps_has_one_row_of_its_own() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    with ActivationMonitor() as monitor, fastact.torch.watch(model, monitor):
        for _ in range(4):
            model.train()
            model(torch.ones(4, 3)).sum().backward()
            model.eval()
            with torch.no_grad():
                for _ in range(20):
                    model(torch.ones(8, 3))
            monitor.step()
        assert monitor.history["1"]["count"].tolist() == [16] * 4
        assert monitor.history["1:eval"]["count"].tolist() == [20 * 32] * 4
