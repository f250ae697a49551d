"""A Lightning training is recorded, stays what it was, and closes its log however it ends."""

import types
from pathlib import Path
from typing import Any

import pytest
from frameworks import linear_net

from fastact import ActivationMonitor, open_log


@pytest.mark.filterwarnings("default")
def test_lightning_records_training_steps_alone(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning", reason="Lightning is not installed")
    import torch

    from fastact.lightning import ActivationCallback

    class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = linear_net()
            self.net.eval()  # as `from_pretrained` hands it over; Lightning leaves it so

        def training_step(self, batch: Any) -> Any:
            return self.net(batch[0]).square().mean()

        def validation_step(self, batch: Any) -> Any:
            return self.net(batch[0]).square().mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    def fit(*callbacks: Any) -> Any:
        lightning.seed_everything(0)
        module = Module()
        data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(24, 4)), batch_size=4)
        trainer = lightning.Trainer(
            max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, accumulate_grad_batches=2, callbacks=list(callbacks),
        )  # fmt: skip
        trainer.fit(module, data, data)
        return module

    plain = fit()
    callback = ActivationCallback(tmp_path, strict=True)
    watched = fit(callback)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), watched.parameters(), strict=True))
    assert not any(module._forward_hooks for module in watched.modules())
    log = open_log(tmp_path)
    assert [info.name for info in log.layers] == ["net.input", "net.0", "net.1", "net.2", "loss", "optimiser"]
    # 6 batches an epoch, two to a step of the optimizer, of 4 samples each.
    assert log.to_table().num_rows == 2 * 3 * 5 + 1  # the optimiser is recorded once in ten steps
    assert {record.stats.count for record in log.replay(layers="loss")} == {2}
    assert {record.stats.count for record in log.replay(layers="net.0")} == {2 * 4 * 3}
    assert callback.failures == 0
    assert callback.monitor.closed

    class Failing(lightning.Callback):  # type: ignore[misc, name-defined]
        def on_train_batch_end(self, *_: Any) -> None:
            raise RuntimeError("out of luck")

    other = ActivationCallback(tmp_path / "other")
    with pytest.raises(RuntimeError, match="out of luck"):
        fit(other, Failing())
    assert other.monitor.closed

    broken = ActivationCallback(tmp_path / "third", layers="no such layer")
    with pytest.warns(RuntimeWarning, match="could not watch the model and continues without it"):
        fit(broken)
    assert broken.failures == 1


def test_a_loss_that_no_one_has_seen_is_what_lightning_tells() -> None:
    pytest.importorskip("lightning", reason="Lightning is not installed")
    import torch

    from fastact.lightning import ActivationCallback

    monitor, step = (
        ActivationMonitor(),
        types.SimpleNamespace(global_step=0, training=True, global_rank=0, world_size=1),
    )
    callback = ActivationCallback(monitor, strict=True)
    callback.on_train_start(step, linear_net())
    for outputs in ({"loss": torch.tensor(0.5)}, torch.tensor(0.25), None):
        step.global_step += 1
        callback.on_train_batch_end(step, None, outputs, None, 0)
    callback.on_train_end()
    assert monitor.history["loss"]["mean"].tolist() == [0.5, 0.25]
