"""The guides are run: their Python as it stands, and the JavaScript by Node, where it has its packages."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import fastact
from fastact.pages import explain
from scripts.pages import blocks


@pytest.mark.parametrize("name", ["thresholds", "inference", "limits", "which-finding-first", "every-step-for-less"])
def test_a_guide_runs_as_written(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    found = blocks(explain(name))
    assert found
    for block in found:
        exec(compile(block, name, "exec"), names)


def test_another_language_reads_a_log(tmp_path: Path) -> None:
    """NODE_MODULES is a folder with apache-arrow and lz4js: ``npm install apache-arrow lz4js`` in some folder."""
    modules, node = os.environ.get("NODE_MODULES", ""), shutil.which("node")
    if node is None or not (Path(modules) / "apache-arrow").is_dir():
        pytest.skip("no Node, or NODE_MODULES does not say where apache-arrow and lz4js are")
    with fastact.ActivationMonitor(tmp_path / "run") as monitor:
        for _ in range(20):
            monitor.record("act", np.zeros((8, 4), np.float32), axis=-1, layer_type="ReLU")
            monitor.step()
    (program,) = re.findall(r"^```js\n(.*?)^```", explain("other-languages"), re.DOTALL | re.MULTILINE)
    (tmp_path / "read.mjs").write_text(program)
    (tmp_path / "node_modules").symlink_to(Path(modules).resolve())
    command = [node, str(tmp_path / "read.mjs"), str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path, check=False)
    assert done.stdout == "20 rows; in step 19 32 of 32 elements of act are zero\n", done.stderr
