"""PyTorch's trainers under fire: Lightning and Hugging Face, each through the same failures."""

import copy
import os
import pickle
import signal
from pathlib import Path
from typing import Any

import pytest
from frameworks import linear_net

from fastact import ActivationMonitor, open_log


@pytest.fixture
def fit(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Trains the network of `_linear_net` in one of the trainers; `during` is called in each forward pass."""
    return {"lightning": _fit_lightning, "huggingface": _fit_huggingface}[request.param](tmp_path)


def _fit_lightning(folder: Path) -> Any:
    lightning = pytest.importorskip("lightning", reason="Lightning is not installed")
    import torch

    import fastact.lightning

    class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self, during: Any) -> None:
            super().__init__()
            self.net, self.during = linear_net(), during

        def training_step(self, batch: Any) -> Any:
            self.during(self.global_step)
            return self.net(batch[0]).square().mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    def fit(callback: Any, during: Any = lambda step: None, **options: Any) -> Any:
        module = Module(during)
        data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(24, 4)), batch_size=4)
        trainer = lightning.Trainer(
            max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, callbacks=[callback], **options,
        )  # fmt: skip
        module.error = None
        handler = signal.getsignal(signal.SIGINT)
        try:
            trainer.fit(module, data)
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            module.error = error
        signal.signal(signal.SIGINT, handler)  # Lightning ignores further ones
        module.steps = trainer.global_step
        return module

    return fit, fastact.lightning.ActivationCallback


def _fit_huggingface(folder: Path) -> Any:
    transformers = pytest.importorskip("transformers", reason="Transformers is not installed")
    pytest.importorskip("accelerate", reason="Accelerate is not installed")
    import torch

    import fastact.huggingface

    class Network(torch.nn.Module):
        def __init__(self, during: Any) -> None:
            super().__init__()
            self.net, self.during, self.passes = linear_net(), during, 0
            self.error: BaseException | None = None
            self.steps = 0

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            self.during(self.passes)
            self.passes += 1
            return {"loss": self.net(x).square().mean()}

    def fit(callback: Any, during: Any = lambda step: None) -> Any:
        model = Network(during)
        arguments = transformers.TrainingArguments(
            str(folder / "out"), max_steps=6, per_device_train_batch_size=4, save_strategy="no", use_cpu=True,
            report_to="none", disable_tqdm=True, logging_strategy="no",
        )  # fmt: skip
        trainer = transformers.Trainer(
            model, arguments, train_dataset=[{"x": torch.randn(4)} for _ in range(24)], callbacks=[callback]
        )
        try:
            trainer.train()
        except (Exception, KeyboardInterrupt) as error:
            model.error = error
        model.steps = trainer.state.global_step
        return model

    return fit, fastact.huggingface.ActivationCallback


_TRAINERS = pytest.mark.parametrize("fit", ["lightning", "huggingface"], indirect=True)


@_TRAINERS
@pytest.mark.filterwarnings("ignore:(?!fastact)")
def test_a_monitor_that_is_closed_in_mid_training_does_not_end_it(fit: Any) -> None:
    train, callback_of = fit
    monitor = ActivationMonitor()
    callback = callback_of(monitor)
    with pytest.warns(RuntimeWarning, match="could not end a step .*the monitor is closed"):
        model = train(callback, lambda step: monitor.close() if step == 2 else None)
    assert (model.error, model.steps) == (None, 6)
    assert callback.failures == 4


@_TRAINERS
@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
@pytest.mark.filterwarnings("ignore:(?!fastact)")
def test_a_training_that_fails_leaves_a_log_and_can_be_started_again(fit: Any, kind: type, tmp_path: Path) -> None:
    train, callback_of = fit
    callback = callback_of(tmp_path / "run", inputs=False, strict=True)

    def fail(step: int) -> None:
        if step == 2:
            raise kind("out of luck")

    model = train(callback, fail)
    # Lightning ends the process after a Ctrl-C.
    assert isinstance(model.error, (kind, SystemExit))
    callback.close()
    assert not any(module._forward_hooks for module in model.modules())
    assert callback.monitor.closed
    assert open_log(tmp_path / "run").to_table().num_rows == 2 * 4 + 1  # of three layers and the loss; the optimiser
    train(callback, fail)  # and is not closed by hand
    assert train(callback).error is None
    # Each of the three is a session of the run.
    assert [open_log(tmp_path / "run", session=k).to_table().num_rows for k in range(3)] == [9, 9, 25]


@_TRAINERS
@pytest.mark.filterwarnings("ignore:(?!fastact)")
def test_a_copied_callback_begins_anew(fit: Any, tmp_path: Path) -> None:
    train, callback_of = fit
    callback = callback_of(tmp_path / "run", layers="net.0", inputs=False, strict=True)
    train(copy.deepcopy(callback))
    train(callback)
    train(pickle.loads(pickle.dumps(callback)))  # as for a process that is spawned
    # Each of the three is a session of the run, with rows of the layer and the loss, and one of the optimiser.
    assert [open_log(tmp_path / "run", session=k).to_table().num_rows for k in range(3)] == 3 * [6 * 2 + 1]
    # A monitor is one: a copy neither writes to it nor ends the training.
    monitor = ActivationMonitor()
    with pytest.warns(RuntimeWarning, match="a copy of it, in this process or another one, records nothing"):
        copied = copy.deepcopy(callback_of(monitor))
    assert train(copied).error is None
    assert copied.failures == len(monitor.history) == 0


@_TRAINERS
@pytest.mark.filterwarnings("ignore:(?!fastact)")
def test_a_log_that_cannot_be_opened_leaves_a_monitor_that_diagnoses(fit: Any, tmp_path: Path) -> None:
    train, callback_of = fit
    (tmp_path / "taken").write_text("a file where the log should go")
    callback = callback_of(tmp_path / "taken", inputs=False)
    with pytest.warns(RuntimeWarning, match="could not open the log and continues without it"):
        model = train(callback)
    assert (model.error, callback.failures) == (None, 1)
    assert [layer.rows for layer in callback.monitor.diagnose().layers] == [6, 6, 6, 6, 1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@_TRAINERS
@pytest.mark.filterwarnings("ignore:(?!fastact)")
def test_a_full_disk_does_not_end_a_training(fit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, callback_of = fit
    full = os.open("/dev/full", os.O_WRONLY)
    callback = callback_of(tmp_path / "run", inputs=False)
    write = os.write

    def begin(step: int) -> None:
        if step == 0:
            monkeypatch.setattr(os, "write", lambda file, data: write(full, data))
        if step == 5:
            callback.monitor.flush()

    with pytest.warns(RuntimeWarning, match="No space left on device"):
        model = train(callback, begin)
    monkeypatch.undo()
    os.close(full)
    assert (model.error, callback.failures, model.steps) == (None, 0, 6)
    assert [layer.rows for layer in callback.monitor.diagnose().layers] == [6, 6, 6, 6, 1]
