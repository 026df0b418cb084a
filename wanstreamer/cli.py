"""The command line: ``wanstreamer``. Thin; every command lives in a file of its own.

A user's mistake ends in one line on stderr and exit status 2, never in a traceback (WS-ERRORS-1).
Source: design §15.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

import click

from spec.errors import WanStreamerError
from wanstreamer import interrupts

USAGE_STATUS = 2
INTERRUPTED_STATUS = 130
GARBAGE: Final = 20_000
FILES: Final = {
    "run": "run",
    "check": "check",
    "compare": "compare",
    "report": "compare",
    "plan": "plan",
    "probe": "probe",
    "simulate": "simulate",
    "trace": "trace",
    "vectors": "vectors",
    "bench": "bench",
}
"""Where each command lives."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """Wan-Streamer v0.1: open reference, split pipeline and conformance suite."""


def register(name: str | None = None) -> None:
    """Attach the commands, or only the one called ``name``; imported here so that a broken part
    cannot hide the others' help, and no command waits for what another needs."""
    for command in (name,) if name in FILES else FILES:
        file = import_module(f"wanstreamer.{FILES[command]}")
        commands.add_command(getattr(file, f"{command}_command"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its status (WS-ERRORS-1)."""
    interrupts.install()
    # To look for cycles after every 700 new objects takes a tenth of a short command.
    gc.set_threshold(GARBAGE)
    words = sys.argv[1:] if arguments is None else arguments
    register(*words[:1])
    status = status_of(arguments)
    # What is still there goes with the process: to look for cycles in it takes a third of a second.
    gc.freeze()
    sys.exit(status)


def status_of(arguments: Sequence[str] | None) -> int:
    """Exit status of one command; its errors are said on stderr in one line (WS-ERRORS-1)."""
    try:
        result = commands.main(arguments, prog_name="wanstreamer", standalone_mode=False)
    except WanStreamerError as error:
        return complain(str(error))
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return USAGE_STATUS
    except click.ClickException as error:
        return complain(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        complain("interrupted")
        return INTERRUPTED_STATUS
    except OSError as error:
        return complain(f"{error.filename or 'system'}: {error.strerror or error}")
    return result if isinstance(result, int) else 0


def complain(message: str) -> int:
    """Say ``message`` as one line on stderr; the exit status of a user's mistake."""
    click.echo("wanstreamer: " + " ".join(message.split()), err=True)
    return USAGE_STATUS
