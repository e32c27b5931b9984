"""`convoq doctor`: all its checks together."""

from __future__ import annotations

import pytest

from tests.cli.doctor.harness import findings, whole
from tests.cli.scenes import Place, announce


def test_a_place_that_is_ready_has_no_failure(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(whole())
    place.prepare(announce)

    found = findings(place, capsys, code=0)

    good = {name for name, check in found.items() if check["level"] == "ok"}
    assert good >= {
        *("settings", "python", "disk space", "flush", "database", "permissions", "schema", "writing", "soundness"),
        *("clocks", "serve", "schedule", "work", "dead letters", "needs", "port"),
    }
    assert "ms" in found["flush"]["detail"]


def test_people_get_a_line_a_check_and_what_to_do(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(whole())

    assert place.run("doctor", "--offline") == 0

    out = capsys.readouterr().out
    assert (
        "warn  work           not running\n                     -> convoq work, or systemctl start convoq-work\n" in out
    )
    assert out.splitlines()[-1].startswith("0 failures, ")
