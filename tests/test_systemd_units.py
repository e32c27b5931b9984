"""The units under systemd/: they load, they are tightly sandboxed, and they agree with the settings."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from convoq.settings import Options, ServerSettings, WorkSettings

SYSTEMD = Path(__file__).parents[1] / "systemd"
ROLES = ("serve", "schedule", "work", "console")
MOST_EXPOSURE = 15  #: tenths of systemd-analyze's exposure level

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units with a program that exists everywhere: verify wants to see it."""
    for unit in [*SYSTEMD.glob("*.service"), *SYSTEMD.glob("*.socket"), *SYSTEMD.glob("*.target")]:
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/convoq/bin/convoq", "/bin/true"))
    return tmp_path


def lines(role: str) -> list[str]:
    text = (SYSTEMD / f"convoq-{role}.service").read_text()
    return [line for line in text.splitlines() if line and not line.startswith(("#", ";"))]


def values(role: str, option: str) -> list[str]:
    return [line.partition("=")[2] for line in lines(role) if line.startswith(f"{option}=")]


@needs_systemd
def test_systemd_finds_nothing_to_say_about_the_units(units: Path) -> None:
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *sorted(map(str, units.iterdir()))], capture_output=True, text=True
    )
    assert (verified.returncode, verified.stderr) == (0, "")


@needs_systemd
@pytest.mark.parametrize("role", ROLES)
def test_a_unit_is_hardly_exposed(units: Path, role: str) -> None:
    unit = units / f"convoq-{role}.service"
    analysed = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSURE}", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
    )
    assert analysed.returncode == 0, analysed.stdout + analysed.stderr


def sandbox(role: str) -> list[str]:
    """Up to what says when the unit starts."""
    found = lines(role)[lines(role).index("ProtectSystem=strict") :]
    return found[: found.index("[Install]")] if "[Install]" in found else found


def test_the_sandbox_is_alike_in_all_units() -> None:
    assert len({tuple(sandbox(role)) for role in ROLES}) == 1


@pytest.mark.parametrize("role", ROLES)
def test_a_unit_starts_its_role(role: str) -> None:
    assert values(role, "ExecStart") == [f"/opt/convoq/bin/convoq {role} --config /etc/convoq/convoq.toml"]


@pytest.mark.parametrize("role", ROLES)
def test_a_reload_is_a_hangup(role: str) -> None:
    assert values(role, "ExecReload") == ["/bin/kill -HUP $MAINPID"]


@pytest.mark.parametrize(
    ("role", "drain"),
    [("serve", ServerSettings().drain_timeout), ("work", WorkSettings().drain_timeout), ("console", 5.0)],
)
def test_systemd_waits_ten_seconds_longer_than_the_drain(role: str, drain: float) -> None:
    assert values(role, "TimeoutStopSec") == [f"{drain + 10:g}"]


@pytest.mark.parametrize("role", ROLES)
def test_a_wrong_configuration_is_not_restarted_and_anything_else_for_ever(role: str) -> None:
    assert values(role, "Restart") == ["always"]
    assert values(role, "RestartPreventExitStatus") == ["78 2"]
    assert values(role, "StartLimitIntervalSec") == ["0"]


def test_every_secret_reaches_the_worker_and_only_the_signing_ones_reach_the_webhook() -> None:
    assert set(credentials("work")) == set(secret_settings(Options))
    storage = ["database__password", "redis__password"]
    assert credentials("serve") == ["twilio__auth_token", "twilio__auth_tokens", *storage]
    assert credentials("schedule") == storage
    assert credentials("console") == storage


@pytest.mark.parametrize("role", ROLES)
def test_a_credential_that_does_not_exist_does_not_stop_the_unit(role: str) -> None:
    """systemd fails the unit over a missing absolute path, but looks up a name in its credential stores."""
    sources = [source for _, _, source in (value.partition(":") for value in values(role, "LoadCredential"))]
    assert sources == [f"convoq.{name}" for name in credentials(role)]


def credentials(role: str) -> list[str]:
    return [value.partition(":")[0] for value in values(role, "LoadCredential")]


def secret_settings(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from secret_settings(field.annotation, f"{prefix}{name}__")
        elif "SecretStr" in str(field.annotation):
            yield prefix + name


@pytest.mark.parametrize("role", ROLES)
def test_the_sandbox_leaves_the_queues_clock_and_the_shared_sockets_in_reach(role: str) -> None:
    assert values(role, "ProcSubset") == []  # pid would hide /proc/sys/kernel/random/boot_id
    assert values(role, "StateDirectory") == ["convoq"]
    assert "AF_UNIX" in values(role, "RestrictAddressFamilies")[0].split()


def test_the_target_enables_every_unit_but_the_console() -> None:
    text = (SYSTEMD / "convoq.target").read_text()
    also = next(line.partition("=")[2] for line in text.splitlines() if line.startswith("Also="))
    assert sorted(also.split()) == sorted(
        unit.name
        for unit in SYSTEMD.iterdir()
        if unit.suffix in {".service", ".socket"} and unit.name != "convoq-console.service"
    )


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="systemd-sysusers is not installed")
def test_sysusers_makes_the_user_of_the_units(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    made = subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", "-"],
        input=(SYSTEMD / "convoq.sysusers").read_text(),
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    (user,) = (tmp_path / "etc/passwd").read_text().splitlines()
    assert user.startswith("convoq:")
    assert {value for role in ROLES for value in values(role, "User")} == {"convoq"}


@pytest.mark.parametrize("page", ["deploy", "operations", "troubleshooting"])
def test_a_recipe_that_stops_all_of_convoq_waits_for_the_worker(page: str) -> None:
    """Of the target alone the stop returns at once: PartOf= hands it on, but nothing orders the units before it."""
    text = (SYSTEMD.parent / "docs" / f"{page}.md").read_text()
    recipes = re.findall(r"systemctl (?:stop|disable --now) convoq\.target.*", text)
    assert [recipe for recipe in recipes if "stop convoq.target 'convoq-*'" not in recipe] == []


def test_the_deployed_configuration_says_whom_the_ai_speaks_for() -> None:
    """It ended without: each reply was that of an AI that knew nothing of the business."""
    page = (SYSTEMD.parent / "docs" / "deploy.md").read_text()
    written = [tomllib.loads(block) for block in re.findall(r"(?s)```toml\n(.*?)```", page)]
    assert [each["ai"].get("prompt_file") for each in written if "ai" in each] == ["prompt.md"]
    assert "/etc/convoq/prompt.md" in page


def test_the_new_machine_of_a_move_enables_the_target() -> None:
    """A target that was never enabled wants no unit: its start succeeds, and starts nothing."""
    page = (SYSTEMD.parent / "docs" / "operations.md").read_text()
    section = page.partition("## Moving to another machine")[2].partition("\n## ")[0]
    assert "systemctl enable --now convoq.target" in section


def test_a_removal_takes_away_what_the_installation_has_put_in_place() -> None:
    install, remove = (
        (SYSTEMD.parent / "docs" / "deploy.md").read_text().partition(f"## {heading}")[2].partition("\n## ")[0]
        for heading in ("Install", "Remove")
    )
    put = re.findall(r"(?m)(?<=\s)(/etc/\S+\.conf|/usr/local/bin/convoq|/opt/convoq)(?=\s)", install)
    assert len(put) == 4
    assert [path for path in put if path not in remove] == []


def test_no_unit_that_watches_convoq_is_stopped_with_it() -> None:
    """The recipes stop and restart convoq-*; starting the target again would not start a timer of that name."""
    page = (SYSTEMD.parent / "docs" / "operations.md").read_text()
    watching = re.findall(r"(?m)^# /etc/systemd/system/(\S+)$", page)
    assert watching == ["watch-convoq.service", "watch-convoq.timer"]
