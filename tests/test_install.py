"""What pip is told on a machine, uv is told too, or is not asked."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts import install


def test_settings_of_pip_become_those_of_uv() -> None:
    lines = [
        "global.index-url='https://a/simple'",
        "global.extra-index-url='\\nfile:///b/simple\\nfile:///c/simple'",
        "global.constraint='/c.txt'",
        "global.find-links='/old'",
        "global.timeout='60'",
        ":env:.find-links='/new'",
        ":env:.cert='/ca.pem'",
        ":env:.disable-pip-version-check='1'",
        "install.trusted-host='a'",
        "download.no-binary=':all:'",
        "WARNING: not a setting",
    ]
    assert install.for_uv(lines) == (
        [
            "--default-index", "https://a/simple", "--extra-index-url", "file:///b/simple", "--extra-index-url",
            "file:///c/simple", "--constraint", "/c.txt", "--find-links", "/new", "--allow-insecure-host", "a",
        ],
        {"UV_HTTP_TIMEOUT": "60", "SSL_CERT_FILE": "/ca.pem"},
    )  # fmt: skip
    assert install.for_uv([]) == ([], {})
    assert install.for_uv(["global.index-url='https://a/simple'", "install.no-binary='numpy'"]) is None


@pytest.mark.parametrize(("code", "found"), [(0, True), (1, False)])
def test_uv_is_asked_with_them_and_its_failure_is_told(monkeypatch: pytest.MonkeyPatch, code: int, found: bool) -> None:
    ran: list[tuple[list[str], dict[str, str]]] = []

    def run(command: list[str], env: dict[str, str] | None = None, **_: Any) -> subprocess.CompletedProcess[str]:
        ran.append((command, env or {}))
        listed = command[1:] == ["-m", "pip", "config", "list"]
        return subprocess.CompletedProcess(command, 0 if listed else code, "global.cert='/ca.pem'\n" if listed else "")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(install, "find_uv", lambda: "/bin/uv")
    assert install.by_uv(["--constraint", "c.txt", "x"]) is found
    command, environment = ran[-1]
    assert command[:3] == ["/bin/uv", "pip", "install"]
    assert command[command.index("--python") + 1] == sys.executable
    assert command[-3:] == ["--constraint", "c.txt", "x"]
    assert environment["SSL_CERT_FILE"] == "/ca.pem"


def test_without_uv_pip_does_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(install, "__file__", str(tmp_path / "scripts" / "install.py"))

    def refuse(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0 if "config" in command else 1, "")

    monkeypatch.setattr(subprocess, "run", refuse)
    assert install.find_uv() is None
    assert not install.by_uv(["x"])
