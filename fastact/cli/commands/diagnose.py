"""`fastact diagnose`: the diagnosis of a log, for people and for scripts."""

import enum
import json
from pathlib import Path
from typing import Annotated, Final

import typer

from fastact.cli.options import AsJson, Rank, Run, Session, Since, Window
from fastact.cli.output import complain, progress_bar, show, warn_of_losses


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
_Config = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Thresholds and accepted findings from a TOML file, instead of the run's own."),
]
_Accept = Annotated[
    list[str] | None,
    typer.Option(
        metavar="LAYER:CONDITION=REASON",
        help="A finding that does not count; LAYER may be a pattern such as 'encoder.*'. Can be repeated.",
    ),
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
    config: _Config = None,
    accept: _Accept = None,
    preset: _Preset = None,
    since: Since = None,
    session: Session = None,
    fail_on: _FailOn = Severity.warning,
) -> int:
    """Say what is wrong in a run, where, since when, and what to try. The exit code is 1 if anything is wrong.

    Notes and accepted findings leave it at 0. It is 2 if there is no row to judge. --accept adds to what the run itself
    accepts, or to that of --config.
    """
    del json_schema  # it has ended the program by itself, since it needs no run
    from fastact.diagnosis.accept import accept_from_option, accept_from_toml
    from fastact.diagnosis.finding import SEVERITIES
    from fastact.diagnosis.rules import Thresholds
    from fastact.diagnosis.settings import read_settings
    from fastact.diagnosis.show.render import render_rich
    from fastact.replay.log import open_log

    log = open_log(run, session=session)
    limits, known = None, log.accepted
    if config is not None:
        own_limits, own_accept = read_settings(config)
        limits = None if own_limits is None else Thresholds.from_toml(config)
        known = known if own_accept is None else accept_from_toml(config)
    if thresholds is not None:
        limits = Thresholds.from_toml(thresholds)
    for text in accept or ():
        for pattern, reasons in accept_from_option(text).items():
            known[pattern] = known.get(pattern, {}) | reasons
    with progress_bar("reading", log.nbytes) as progress:
        diagnosis = log.diagnose(limits, window_size=window, rank=rank, accept=known, preset=preset, progress=progress)
    warn_of_losses(log)
    if since is not None:
        diagnosis = diagnosis.since(since)
    if as_json:
        print(diagnosis.to_json(indent=2))
    else:
        show(render_rich(diagnosis))
    if not any(layer.rows for layer in diagnosis.layers):
        complain("error: nothing was recorded, or all rows are lost: there is nothing to judge")
        return 2
    counts = SEVERITIES[SEVERITIES.index(fail_on.value) :]
    return int(any(finding.severity in counts for finding in diagnosis.findings))
