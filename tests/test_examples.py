"""The examples, run as a reader of the frameworks' pages runs them: with what follows on the page, on real data.

Each must find its fault, with the real framework.
"""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from fastact import open_log
from fastact.diagnosis.layer_types import OUTPUTS, group_of
from fastact.pages import explain, names
from scripts.pages import EXAMPLES, blocks

MLP = ["hidden1", "act1", "hidden2", "act2", "output"]
KERAS = ["input", "hidden1", "hidden2", "output"]
#: What each needs, with which environment, how many steps it records, its layers and the one that is dead.
CASES = {
    "torch": ("torch_digits", ["torch"], {}, 60, ["input", "0", "1", "2", "3", "4"], "3"),
    "lightning": ("lightning_digits", ["lightning"], {}, 60, ["hidden1.input", *MLP], "act2"),
    "huggingface": (
        "huggingface_digits",
        ["transformers", "accelerate"],
        {},
        20,
        None,
        "bert.encoder.layer.1.intermediate.intermediate_act_fn",
    ),
    # Four epochs of ceil(1437 / 128) batches.
    "keras-jax": (
        "keras_digits", ["keras", "jax"], {"KERAS_BACKEND": "jax"}, 48, KERAS, "hidden2",
    ),
    "keras-torch": (
        "keras_digits", ["keras", "torch"], {"KERAS_BACKEND": "torch"}, 48, KERAS, "hidden2",
    ),
    "jax": ("jax_digits", ["jax"], {}, 60, MLP, "act2"),
    "flax": ("flax_digits", ["flax", "optax"], {}, 60, MLP, "act2"),
    "linen": ("linen_digits", ["flax", "optax"], {}, 60, MLP, "act2"),
    "sklearn": ("sklearn_digits", ["sklearn"], {}, 60, MLP, "act2"),
    "sinks": (
        "sinks_digits",
        ["torch", "tensorboard", "wandb", "mlflow", "trackio", "prometheus_client"],
        {"WANDB_SILENT": "true"},
        60, ["input", "0", "1", "2", "3", "4"], "3",
    ),
    "numpy": ("numpy_digits", [], {}, 60, MLP, "act2"),
}  # fmt: skip


def scripts() -> dict[str, str]:
    """Each example with what follows on its page, up to the next example."""
    found = {}
    for page in names("frameworks"):
        for part in re.split(r"(?=<!-- example by)", explain(page))[1:]:
            found[part.partition(".py -->")[0].split()[-1]] = "\n".join(blocks(part))
    return found


SCRIPTS = scripts()


@pytest.mark.e2e
@pytest.mark.parametrize("case", CASES)
def test_the_example_runs_and_finds_its_dead_layer(case: str, tmp_path: Path) -> None:
    script, needs, environment, steps, layers, dead = CASES[case]
    missing = [name for name in needs if find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    (tmp_path / "page.py").write_text(SCRIPTS[script], encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "page.py", str(tmp_path / "run")],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            **environment,
            **dict.fromkeys(("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "TRACKIO_DIR"), str(tmp_path)),
            "CUDA_VISIBLE_DEVICES": "",
            "JAX_PLATFORMS": "cpu",
            "OMP_NUM_THREADS": "1",
        },
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "continues without it" not in done.stderr, done.stderr
    log = open_log(tmp_path / "run")
    assert not log.warnings
    diagnosis = log.diagnose()
    first = diagnosis.findings[0]
    assert (first.condition, first.layer) == ("dead", dead)
    assert str(diagnosis) in done.stdout  # the live one
    # Losses, targets and optimisers have rows beside those of the layers, and not in every step.
    recorded = {info.name for info in log.layers if group_of(info.layer_type, "") in OUTPUTS}
    if layers is not None:
        assert [info.name for info in log.layers if info.name in recorded] == layers
    table = log.to_table()
    assert sum(name in recorded for name in table["layer"].to_pylist()) == steps * len(recorded)
    assert table.column("step").to_pylist()[-1] == steps - 1


def test_every_example_is_on_a_framework_s_page_and_run() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {case[0] for case in CASES.values()} == set(SCRIPTS)


def test_every_example_is_on_the_page() -> None:
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    missing = [path.name for path in EXAMPLES.glob("*.py") if f"]({path.name})" not in page]
    assert not missing
