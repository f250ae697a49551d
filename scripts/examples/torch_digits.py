"""PyTorch: `fastact.torch.watch` around the loop. Trains on scikit-learn's digits and finds a dead layer."""

import sys

import torch
from sklearn.datasets import load_digits
from torch import nn

import fastact
import fastact.torch

x, y = load_digits(return_X_y=True)
x, y = torch.from_numpy(x / 16).float(), torch.from_numpy(y)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
nn.init.constant_(model[2].bias, -10.0)  # the mistake that fastact is to find
optimizer = torch.optim.Adam(model.parameters(), 0.003)

with (
    fastact.ActivationMonitor(sys.argv[1] if sys.argv[1:] else "runs/torch") as monitor,
    fastact.torch.watch(model, monitor),
):
    for _ in range(60):
        batch = torch.randint(len(x), (128,))
        loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        monitor.step()
    print(monitor.diagnose())
