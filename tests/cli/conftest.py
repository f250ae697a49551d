"""Fixtures of the tests of the command line. They are in a module with a name of its own, which type checkers need."""

from command_line import healthy, no_terminal, sick

__all__ = ["healthy", "no_terminal", "sick"]
