"""Lightning: one callback. Trains on scikit-learn's digits and finds a dead layer."""

import sys
from typing import Any

import lightning
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from fastact.lightning import ActivationCallback


class Network(lightning.LightningModule):
    """Two hidden layers, the second of which starts dead: the mistake that fastact is to find."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden1, self.hidden2, self.output = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)
        self.act1, self.act2 = nn.ReLU(), nn.ReLU()
        nn.init.constant_(self.hidden2.bias, -10.0)

    def training_step(self, batch: Any) -> torch.Tensor:
        """The loss of a batch."""
        x, y = batch
        x = self.act2(self.hidden2(self.act1(self.hidden1(x))))
        return nn.functional.cross_entropy(self.output(x), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), 0.003)


x, y = load_digits(return_X_y=True)
data = TensorDataset(torch.from_numpy(x / 16).float(), torch.from_numpy(y))
lightning.seed_everything(0)
callback = ActivationCallback(sys.argv[1] if sys.argv[1:] else "runs/lightning")
trainer = lightning.Trainer(
    max_epochs=4, accelerator="cpu", callbacks=[callback], logger=False, enable_checkpointing=False
)
trainer.fit(Network(), DataLoader(data, batch_size=128, shuffle=True))
print(callback.monitor.diagnose())
