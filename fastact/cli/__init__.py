"""The command line."""

from fastact.cli.app import main

__all__ = ["main"]
