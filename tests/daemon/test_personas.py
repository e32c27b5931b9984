"""Who speaks at which of our addresses, and what time it is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from convoq.daemon.personas import CurrentPersonas
from convoq.settings import Options
from convoq.settings.load import Loaded

OURS, OTHER = "whatsapp:+15550009999", "+15550009999"


def loaded(**number: Any) -> Loaded:
    options = Options.model_validate({"numbers": [{"address": OURS, "persona": "default"} | number]})
    return Loaded(options, Path("convoq.toml"), {})


async def test_a_number_has_its_own_time_zone_and_all_others_the_machines() -> None:
    personas = CurrentPersonas(loaded(timezone="Europe/Madrid"))
    assert (personas.zone_of(OURS), personas.zone_of(OTHER)) == (ZoneInfo("Europe/Madrid"), None)


async def test_a_reload_changes_the_time_zone() -> None:
    personas = CurrentPersonas(loaded())
    assert personas.zone_of(OURS) is None
    put_in_place = await personas.prepare(loaded(timezone="Asia/Tokyo"))
    await put_in_place()
    assert personas.zone_of(OURS) == ZoneInfo("Asia/Tokyo")


async def test_a_reload_changes_the_language_of_a_number() -> None:
    personas = CurrentPersonas(loaded(language="es"))
    assert (personas.language_of(OURS), personas.language_of(OTHER)) == ("es", None)
    put_in_place = await personas.prepare(loaded(language="pt"))
    await put_in_place()
    assert personas.language_of(OURS) == "pt"


async def test_a_persona_says_its_own_sentence_at_its_addresses_and_a_reload_changes_it() -> None:
    def of(sentence: str) -> Loaded:
        personas = [{"name": "shop", "handed_over": {"en": sentence}}]
        options = Options.model_validate({"numbers": [{"address": OURS, "persona": "shop"}], "personas": personas})
        return Loaded(options, Path("convoq.toml"), {})

    personas = CurrentPersonas(of("Marta answers\x00 you."))
    assert (personas.handed_over_of(OURS), personas.handed_over_of(OTHER)) == ({"en": "Marta answers you."}, {})
    put_in_place = await personas.prepare(of("Luis answers you."))
    await put_in_place()
    assert personas.handed_over_of(OURS) == {"en": "Luis answers you."}
