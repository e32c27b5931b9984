"""The rules of a hand-over that tests go by: each sentence names itself."""

from __future__ import annotations

from dataclasses import replace

from convoq.conversations.handing_over import HandoverRules, HandoverSentences, Told

TAKEN_WITHIN, GIVE_BACK_WITHIN, SILENT_WITHIN = 300, 1800, 1200  # seconds
ASIDE = (Told.CHECK_IN, Told.EXPIRED)  #: said only where the settings have a sentence
SENTENCES = HandoverSentences(
    {told: {"en": f"<{told}>", "es": f"<{told} es>"} for told in Told if told not in ASIDE}, lambda _: "en"
)
TALKATIVE = HandoverSentences({told: {"en": f"<{told}>"} for told in Told}, lambda _: "en")
HANDOVER = HandoverRules(
    ai_may_ask=True,
    taken_within=TAKEN_WITHIN * 1000,
    give_back_within=GIVE_BACK_WITHIN * 1000,
    silent_within=SILENT_WITHIN * 1000,
    return_when_silent=True,
    notes_to_model=False,
    sentences=SENTENCES,
    desk_of=lambda _: None,
)
NOBODY_LOOKS = replace(HANDOVER, ai_may_ask=False)  #: as where [handover] stands at its defaults
