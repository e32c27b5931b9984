"""The command with which root lets the doctor see what only the worker's unit is given."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from convoq.cli.doctor.command import examine
from convoq.cli.doctor.units import doctor_command
from convoq.monitoring.findings import Finding, Level
from convoq.settings.load import load
from tests.cli.doctor.harness import whole
from tests.cli.scenes import Place

SYSTEMD = Path(__file__).parents[3] / "systemd"


def program(directory: Path, name: str, script: str) -> None:
    (directory / name).write_text(f"#!/bin/sh\n{script}\n")
    (directory / name).chmod(0o755)


@pytest.mark.process
def test_the_command_hands_on_each_credential_and_variable_of_the_unit(place: Place) -> None:
    """The shell's own words are looked at; what systemd makes of them, the walk on a booted machine shows."""
    tools = place.directory / "tools"
    tools.mkdir()
    program(tools, "sudo", 'exec "$@"')
    program(tools, "systemctl", f"cat {SYSTEMD}/$2.service {place.directory}/drop-in.conf")
    drop_in = place.directory / "drop-in.conf"
    drop_in.write_text(
        '[Service]\nEnvironment="NO_PROXY=a, b" SSL_CERT_FILE=/etc/own-ca.pem\nEnvironmentFile=-/etc/convoq.env\n'
    )
    program(tools, "systemd-run", 'for word in "$@"; do echo "$word"; done')
    command = doctor_command(load(place.config, environ={}), (SYSTEMD,))
    assert command is not None

    done = subprocess.run(
        ["sh", "-c", command], env={"PATH": f"{tools}:{os.environ['PATH']}"}, capture_output=True, text=True,
        check=True, timeout=30,
    )  # fmt: skip

    words = done.stdout.splitlines()
    unit = ((SYSTEMD / "convoq-work.service").read_text() + drop_in.read_text()).splitlines()
    wanted = [f"--property={line}" for line in unit if line.startswith(("LoadCredential", "Environment"))]
    assert [word for word in words if word.startswith("--property")] == wanted
    assert words[-3:] == ["doctor", "--config", str(place.config)]


def test_without_the_unit_there_is_no_command(place: Place) -> None:
    assert doctor_command(load(place.config, environ={}), (place.directory,)) is None


async def examined(place: Place, directory: Path) -> dict[str, Finding]:
    return {
        finding.name: finding async for finding in examine(place.config, offline=True, unit_directories=[directory])
    }


async def test_a_secret_that_the_unit_may_have_is_a_note_with_the_command_that_asks(bare: Place) -> None:
    bare.configure(whole(model="openai:gpt-5-mini", ai="api_key = 'k'").replace("auth_token", "#auth_token"))

    found = await examined(bare, SYSTEMD)

    assert found["needs"].level is Level.NOTE
    assert found["needs"].fix is None
    assert "twilio.auth_token" in found["secrets"].detail
    assert found["secrets"].fix == doctor_command(load(bare.config, environ={}), (SYSTEMD,))


async def test_without_the_unit_a_missing_secret_is_a_warning_that_says_where_it_belongs(bare: Place) -> None:
    bare.configure(whole(model="openai:gpt-5-mini", ai="api_key = 'k'").replace("auth_token", "#auth_token"))

    found = await examined(bare, bare.directory)

    assert found["needs"].level is Level.WARN
    assert "CONVOQ_TWILIO__AUTH_TOKEN" in (found["needs"].fix or "")
    assert found["secrets"].fix is None
