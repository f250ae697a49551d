"""One batch over and over is told where evaluation shows that it does not serve."""

import pytest
import torch
from torch import nn

import fastact.torch
from fastact.monitor.monitor import ActivationMonitor


@pytest.mark.parametrize(
    ("same", "learnable", "told"),
    [
        (True, False, True),  # labels of chance are learned by heart
        (True, True, False),  # all there is may be one batch, and serve
        (False, False, False),
    ],
)
def test_one_batch_is_told_where_what_is_learned_of_it_fails(same: bool, learnable: bool, told: bool) -> None:
    torch.manual_seed(0)
    model, criterion = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 3)), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)

    def drawn(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.randn(count, 8)
        return x, x[:, :3].argmax(1) if learnable else torch.randint(3, (count,))

    first, others = drawn(256 if learnable else 32), drawn(200)
    with ActivationMonitor() as monitor:
        with fastact.torch.watch(model, monitor, loss=criterion):
            for step in range(80):
                x, y = first if same else drawn(32)
                optimizer.zero_grad()
                criterion(model(x), y).backward()
                optimizer.step()
                if step % 10 == 9:
                    model.eval()
                    with torch.no_grad():
                        criterion(model(others[0]), others[1])
                    model.train()
                monitor.step()
        findings = [it for it in monitor.diagnose().findings if it.cause_name == "same_batch"]
    assert bool(findings) == told
    assert all("fails in evaluation" in it.message for it in findings)
