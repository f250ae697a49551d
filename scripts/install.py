"""Installs into the environment of the Python that runs this: by uv where it can be had, else by pip.

uv fetches and unpacks side by side, keeps what it unpacked for the next environment and compiles no bytecode: seconds
where pip takes minutes, for the same packages. It reads none of pip's settings, so what this machine tells pip (where
packages come from, what bounds their versions) is passed on, and where one of pip's settings has no counterpart here,
pip it is.

    python scripts/install.py [--constraint FILE] REQUIREMENT...
"""

import ast
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

#: Settings of pip as options and as variables of uv.
OPTIONS = {
    "constraint": "--constraint",
    "extra-index-url": "--extra-index-url",
    "find-links": "--find-links",
    "index-url": "--default-index",
    "trusted-host": "--allow-insecure-host",
}
VARIABLES = {"cert": "SSL_CERT_FILE", "default-timeout": "UV_HTTP_TIMEOUT", "timeout": "UV_HTTP_TIMEOUT"}
#: Change how pip goes about it, not what it installs.
HARMLESS = {
    "cache-dir", "disable-pip-version-check", "no-color", "no-input", "no-python-version-warning", "progress-bar",
    "quiet", "retries", "root-user-action", "verbose",
}  # fmt: skip


def for_uv(lines: Iterable[str]) -> tuple[list[str], dict[str, str]] | None:
    """uv's options and variables for what ``pip config list`` prints, or None where it says what uv is not told of.

    >>> for_uv(["global.cert='/ca.pem'", "global.find-links='/a /b'", ":env:.find-links='/c'"])
    (['--find-links', '/c'], {'SSL_CERT_FILE': '/ca.pem'})
    >>> for_uv(["install.no-binary=':all:'"])
    """
    settings: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in lines:
        key, equals, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if equals and section in settings:
            settings[section][name] = str(ast.literal_eval(value))
    options, variables = [], {}
    # As pip has it: a command's settings go before those of all commands, and the environment's before both.
    for name, value in {**settings["global"], **settings["install"], **settings[":env:"]}.items():
        if name in OPTIONS:
            options += [word for each in value.split() for word in (OPTIONS[name], each)]
        elif name in VARIABLES:
            variables[VARIABLES[name]] = value
        elif name not in HARMLESS:
            return None
    return options, variables


def find_uv() -> str | None:
    """uv of the repository's own environment or of this one, into which it is installed where neither has it."""
    own = Path(sys.executable).parent / "uv"
    shared = Path(__file__).parents[1] / ".venv" / "bin" / "uv"
    for path in (shared, own):
        if path.exists():
            return str(path)
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "uv"], capture_output=True, text=True, check=False
    )
    return str(own) if done.returncode == 0 and own.exists() else None


def by_uv(arguments: list[str]) -> bool:
    """Whether uv did it."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    told = for_uv(listed.stdout.splitlines()) if listed.returncode == 0 else None
    uv = find_uv() if told is not None else None
    if told is None or uv is None:
        return False
    options, variables = told
    # pip takes the best version of all places; uv, unless told otherwise, that of the first that has the package.
    command = [uv, "pip", "install", "--quiet", "--python", sys.executable, "--index-strategy", "unsafe-best-match"]
    done = subprocess.run([*command, *options, *arguments], env={**os.environ, **variables}, check=False)
    return done.returncode == 0


if __name__ == "__main__":
    if not by_uv(sys.argv[1:]):
        print("setup: by pip, since uv cannot do it here")
        sys.exit(
            subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *sys.argv[1:]], check=False).returncode
        )
