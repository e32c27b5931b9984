"""The doctor as the worker's systemd unit would run it: with the credentials that only the unit is given."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from convoq.cli.doctor.machine import user_name

if TYPE_CHECKING:
    from convoq.settings.load import Loaded

UNIT: Final = "convoq-work"  #: of the three the one that is given every secret
UNIT_DIRECTORIES: Final = (
    Path("/etc/systemd/system"), Path("/run/systemd/system"), Path("/usr/lib/systemd/system"),
    Path("/lib/systemd/system"),
)  # fmt: skip

# Read from the unit when it is run, so that drop-ins, encrypted credentials and a proxy or CA of the unit's environment
# are right too. xargs hands on whole lines: a value may hold blanks and quotes, which systemd-run reads as a unit's.
_PROPERTIES: Final = (
    f"systemctl cat {UNIT} | "
    "sed -nE 's/^(LoadCredential|ImportCredential|EnvironmentFile|Environment)/--property=&/p' | sudo xargs -d '\\n'"
)


def doctor_command(loaded: Loaded, directories: Sequence[Path] = UNIT_DIRECTORIES) -> str | None:
    """What root types to run the doctor with the unit's secrets as the database's owner; None without the unit."""
    if not any((directory / f"{UNIT}.service").exists() for directory in directories):
        return None
    program = Path(sys.argv[0]).absolute()
    convoq = [str(program)] if program.name == "convoq" else [sys.executable, "-m", "convoq"]
    config = ["--config", loaded.config_path] if loaded.config_path else []
    run = ["systemd-run", "--pipe", "--wait", "--quiet", "-p", f"User={_owner(loaded.options.database.path)}"]
    script = f'exec {shlex.join(run)} "$@" {shlex.join([*convoq, "doctor", *config])}'
    return f"{_PROPERTIES} sh -c {shlex.quote(script)} sh"


def _owner(database: Path) -> str:
    try:
        return user_name(database.stat().st_uid)
    except OSError:
        return "convoq"  # as systemd/convoq.sysusers names it
