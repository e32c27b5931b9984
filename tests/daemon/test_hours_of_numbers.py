"""The hours of a number, from convoq.toml to the worker."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from convoq.conversations.out_of_hours import OutOfHours
from convoq.daemon.personas import CurrentPersonas
from convoq.settings.load import load
from convoq.zones import zone_named

SHOP, OFFICE = "whatsapp:+15550009999", "+15550008888"
CONFIG = f"""
[[numbers]]
address = "{SHOP}"
persona = "default"
timezone = "Europe/Madrid"
hours = ["mon-fri 09:00-18:00"]
holidays = ["12-25"]
out_of_hours = "message"

[[numbers]]
address = "{OFFICE}"
persona = "default"
"""


def test_a_number_has_the_hours_of_the_settings_in_its_own_zone(tmp_path: Path) -> None:
    (tmp_path / "convoq.toml").write_text(CONFIG)
    personas = CurrentPersonas(load(tmp_path / "convoq.toml", environ={}))
    desk = personas.desk_of(SHOP)
    assert desk is not None
    assert desk.out_of_hours is OutOfHours.MESSAGE
    nine = datetime(2026, 11, 23, 9, 0, tzinfo=zone_named("Europe/Madrid")).timestamp() * 1000
    assert [desk.hours.is_open(round(nine) + offset) for offset in (-1, 0)] == [False, True]
    assert personas.desk_of(OFFICE) is None
