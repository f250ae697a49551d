"""The command line.

- app: the program, its exit codes, and what becomes of an error
- commands: a file for each command, and the list of them
- options: arguments and options that several commands take
- output: tables, progress bars, complaints
"""

from fastact.cli.app import main

__all__ = ["main"]
