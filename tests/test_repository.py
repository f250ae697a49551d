"""What several files of the repository say, they say alike."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOW = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")


def test_continuous_integration_runs_every_python_that_is_promised() -> None:
    promised = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["classifiers"]))
    (matrix,) = re.findall(r"python: \[(.*)\]", WORKFLOW)
    assert re.findall(r"3\.\d+", matrix) == promised
    assert PROJECT["requires-python"] == f">={promised[0]}"


def test_pre_commit_lints_with_the_version_that_scripts_test_has() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([\w-]+)==(.*)$", (ROOT / "scripts" / "constraints.txt").read_text(), re.MULTILINE))
    assert re.findall(r"ruff-pre-commit\n\s+rev: v(\S+)", hooks) == [pinned["ruff"]]


@pytest.mark.parametrize(
    "page", ["README.md", "fastact/README.md", ".github/CONTRIBUTING.md", "bench/results/README.md"]
)
def test_links_of_the_repository_s_pages_lead_somewhere(page: str) -> None:
    path = ROOT / page
    targets = re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8"))
    assert targets or page == "bench/results/README.md"
    assert [target for target in targets if "://" not in target and not (path.parent / target).exists()] == []
