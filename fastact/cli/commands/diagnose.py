"""`fastact diagnose`: the diagnosis of a log, for people and for scripts."""

import enum
import json
from pathlib import Path
from typing import Annotated, Final

import typer

from fastact.cli.options import AsJson, Rank, Run, Window
from fastact.cli.output import progress_bar, show, warn_of_losses


class Severity(enum.StrEnum):
    """From which severity on a finding counts."""

    warning = "warning"
    serious = "serious"
    critical = "critical"


def _print_schema(wanted: bool) -> None:
    if wanted:
        from fastact.diagnosis.schema import report_schema

        print(json.dumps(report_schema(), indent=2))
        raise typer.Exit


_ABOUT_SCHEMA: Final = "Print the JSON Schema of --json and exit."
_Schema = Annotated[bool, typer.Option("--json-schema", is_eager=True, callback=_print_schema, help=_ABOUT_SCHEMA)]
_File = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Thresholds from a TOML file, instead of the run's own.")
]
_Preset = Annotated[
    str | None, typer.Option(help="Judge by others' published rules: naive, sagemaker, deepdiagnosis, ....")
]
_FailOn = Annotated[Severity, typer.Option(help="The least severity that makes the exit code 1.")]


def diagnose(
    run: Run,
    as_json: AsJson = False,
    json_schema: _Schema = False,
    window: Window = None,
    rank: Rank = None,
    thresholds: _File = None,
    preset: _Preset = None,
    fail_on: _FailOn = Severity.warning,
) -> int:
    """Say what is wrong in a run, where, since when, and what to try. The exit code is 1 if anything is wrong."""
    del json_schema  # it has ended the program by itself, since it needs no run
    from fastact.diagnosis.finding import SEVERITIES
    from fastact.diagnosis.report import render_rich
    from fastact.diagnosis.rules import Thresholds
    from fastact.replay.log import open_log

    log = open_log(run)
    limits = None if thresholds is None else Thresholds.from_toml(thresholds)
    with progress_bar("reading", log.nbytes) as progress:
        diagnosis = log.diagnose(limits, window_size=window, rank=rank, preset=preset, progress=progress)
    warn_of_losses(log)
    if as_json:
        print(diagnosis.to_json(indent=2))
    else:
        show(render_rich(diagnosis))
    counts = SEVERITIES[SEVERITIES.index(fail_on.value) :]
    return int(any(finding.severity in counts for finding in diagnosis.findings))
