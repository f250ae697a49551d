"""A training by the Hugging Face Trainer is recorded and stays what it was; a transformer that is checkpointed."""

from pathlib import Path
from typing import Any

import pytest
from frameworks import linear_net

from fastact import ActivationMonitor, open_log


@pytest.mark.filterwarnings("default")
def test_huggingface_records_training_steps_alone(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="Transformers is not installed")
    pytest.importorskip("accelerate", reason="Accelerate is not installed")
    import torch

    from fastact.huggingface import ActivationCallback

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = linear_net()

        def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            logits = self.net(x)
            return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}

    data = [{"x": torch.randn(4), "labels": i % 2} for i in range(16)]

    def fit(*callbacks: Any) -> Any:
        transformers.set_seed(0)
        arguments = transformers.TrainingArguments(
            str(tmp_path / "out"), max_steps=6, per_device_train_batch_size=2, gradient_accumulation_steps=2,
            eval_strategy="steps", eval_steps=2, save_strategy="no", use_cpu=True, report_to="none", disable_tqdm=True,
        )  # fmt: skip
        model = Network()
        transformers.Trainer(model, arguments, train_dataset=data, eval_dataset=data, callbacks=list(callbacks)).train()
        return model

    plain = fit()
    callback = ActivationCallback(tmp_path / "run", strict=True)
    watched = fit(callback)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), watched.parameters(), strict=True))
    assert not any(module._forward_hooks for module in watched.modules())
    log = open_log(tmp_path / "run")
    layers = ["input['x']", "net.0", "net.1", "net.2"]
    assert [info.name for info in log.layers] == [*layers, "loss:target", "loss", "loss:baseline", "optimiser"]
    assert log.layers[5].source == "net.2"
    assert log.layers[5].facts["function"] == "cross_entropy"
    assert [record.step for record in log.replay(layers="net.0")] == [0, 1, 2, 3, 4, 5]
    assert {record.stats.count for record in log.replay(layers="net.0")} == {2 * 2 * 3}
    assert callback.monitor.closed

    (tmp_path / "taken").write_text("a file where the log should go")
    blocked = ActivationCallback(tmp_path / "taken")
    with pytest.warns(RuntimeWarning, match="could not open the log and continues without it"):
        fit(blocked)
    assert blocked.failures >= 1


@pytest.mark.e2e
@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.filterwarnings("ignore:(?!fastact)")
def test_a_transformer_with_gradient_checkpointing_counts_once_and_generates(reentrant: bool) -> None:
    transformers = pytest.importorskip("transformers", reason="Transformers is not installed")
    import torch

    import fastact.torch

    config = transformers.GPT2Config(vocab_size=32, n_positions=32, n_embd=16, n_layer=2, n_head=2)
    model = transformers.GPT2LMHeadModel(config).train()
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    tokens = torch.arange(16).reshape(2, 8)
    with ActivationMonitor() as monitor, fastact.torch.watch(model, monitor, strict=True):
        model(input_ids=tokens, labels=tokens).loss.backward()
        monitor.step()
        counts = {name: int(layer["count"][0]) for name, layer in monitor.history.items()}
        assert {counts[f"transformer.h.{block}.ln_1"] for block in range(2)} == {2 * 8 * 16}
        model.gradient_checkpointing_disable()
        model.eval()
        out = model.generate(tokens[:, :4], max_new_tokens=6, do_sample=False, pad_token_id=0)
        monitor.step()
        # The prompt, then one token after another, out of the cache.
        assert int(monitor.history["transformer.wte:eval"]["count"][0]) == 2 * 16 * (out.shape[1] - 1)
