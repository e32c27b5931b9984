"""Reads a message that a person wrote from Twilio's form, with words for everything that is not text."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Final

from convoq.channels.base import Inbound, Keyword, Media
from convoq.errors import Unrecoverable
from convoq.notes import described

CHANNEL: Final = "twilio"

_QUOTED: Final = 300  # characters of one value that a description quotes
#: Carriers obey these on SMS alone: elsewhere they are words of a conversation.
_STOP_OF_CARRIERS: Final = frozenset({"cancel", "end", "quit", "revoke"})
#: By language. No carrier obeys or answers them, but who writes one means it.
_STOP_BY_LANGUAGE: Final = {
    "es": ("baja", "darmedebaja", "darsedebaja", "desuscribir", "nomasmensajes", "detener"),
    "pt": ("sair", "pare", "parar", "descadastrar", "cancelarinscricao"),
    "fr": ("arret", "desabonner", "desabonnement", "desinscrire", "desinscription"),
    "de": ("stopp", "abmelden", "abbestellen", "austragen", "keinenachrichtenmehr"),
}
_STOP_ELSEWHERE: Final = frozenset(word for words in _STOP_BY_LANGUAGE.values() for word in words)
_LANGUAGE_OF: Final = {
    **{word: language for language, words in _STOP_BY_LANGUAGE.items() for word in words},
    "unsubscribe": "en",
}
_YES_ELSEWHERE: Final = frozenset({"alta", "iniciar", "voltar", "reprendre", "anmelden"})
#: What whole messages mean, as _letters_and_digits leaves them.
_KEYWORDS: Final = {
    **dict.fromkeys(("stop", "stopall", "unsubscribe", "optout"), Keyword.STOP),
    **dict.fromkeys(_STOP_OF_CARRIERS | _STOP_ELSEWHERE, Keyword.STOP),
    **dict.fromkeys(("start", "unstop"), Keyword.START),
    **dict.fromkeys(("help", "info"), Keyword.HELP),
    **dict.fromkeys({"yes", *_YES_ELSEWHERE}, Keyword.YES),
}


def parse_inbound(form: Sequence[tuple[str, str]]) -> Inbound:
    """The message in a verified form. Raises Unrecoverable when the form holds none."""
    # SQLite's text functions and terminals stop at NUL, which phones do send.
    fields = {name: value.replace("\0", "") for name, value in form}
    for name in ("MessageSid", "From", "To"):
        if not fields.get(name):
            raise Unrecoverable(f"the form is not a message: {name} is missing")
    text = fields.get("Body", "")
    media = _media(fields)
    by_carrier = ":" not in fields["From"]  # SMS and MMS; WhatsApp, Messenger and RCS have their scheme in front
    word = _keyword_in(fields, text, by_carrier=by_carrier)
    return Inbound(
        provider_id=fields["MessageSid"],
        channel=CHANNEL,
        our_address=fields["To"],
        address=fields["From"],
        text=text,
        description=_description(fields, text, media),
        media=media,
        profile_name=fields.get("ProfileName", "").strip() or None,
        keyword=_keyword(fields, word),
        keyword_language=_LANGUAGE_OF.get(word) or _LANGUAGE_OF.get(_letters_and_digits(text)),
        carrier_replies=_carrier_replies(fields, word, by_carrier=by_carrier),
    )


def _keyword(fields: Mapping[str, str], word: str) -> Keyword | None:
    opt_out_type = fields.get("OptOutType", "").lower()
    if opt_out_type in {keyword.value for keyword in Keyword}:
        return Keyword(opt_out_type)
    return _KEYWORDS.get(word)


def _keyword_in(fields: Mapping[str, str], text: str, *, by_carrier: bool) -> str:
    """The word that the message is nothing but, as _KEYWORDS has it; empty if it is more, or another."""
    # A button says what it means in its payload, whatever its words are.
    words = (_letters_and_digits(fields.get("ButtonPayload", "")), _letters_and_digits(text))
    ordinary = frozenset() if by_carrier else _STOP_OF_CARRIERS
    return next((word for word in words if word in _KEYWORDS and word not in ordinary), "")


def _carrier_replies(fields: Mapping[str, str], word: str, *, by_carrier: bool) -> bool:
    if fields.get("OptOutType"):  # Advanced Opt-Out, which answers for each sender of its service, WhatsApp's too
        return True
    return by_carrier and word not in _STOP_ELSEWHERE | _YES_ELSEWHERE


def _letters_and_digits(text: str) -> str:
    """Its letters and digits alone, without accents, so that "Stop.", "OPT OUT" and "Arrêt" are what they mean."""
    if len(text) > 100:
        return ""
    return "".join(char for char in unicodedata.normalize("NFKD", text).casefold() if char.isalnum())


def _media(fields: Mapping[str, str]) -> tuple[Media, ...]:
    indexes = sorted(int(name[8:]) for name in fields if re.fullmatch(r"MediaUrl[0-9]{1,3}", name))
    return tuple(
        Media(url=url, content_type=fields.get(f"MediaContentType{index}", "") or "application/octet-stream")
        for index in indexes
        if (url := fields.get(f"MediaUrl{index}", ""))
    )


def _description(fields: Mapping[str, str], text: str, media: Sequence[Media]) -> str:
    notes = [*_context(fields), *_attached(fields, media), *_chosen(fields, text), *_place(fields), *_filled_in(fields)]
    if not notes and not text.strip():
        kind = fields.get("MessageType", "").lower()
        notes = ["empty message" if kind in {"", "text"} else f"a message of the kind {_quoted(kind)}"]
    return described(notes, text)


def _context(fields: Mapping[str, str]) -> list[str]:
    notes = []
    if any(fields.get(name) for name in ("ReferralSourceUrl", "ReferralHeadline", "ReferralBody", "ReferralSourceId")):
        about = _joined(fields, "ReferralHeadline", "ReferralBody", "ReferralSourceUrl", separator=" | ")
        notes.append("wrote after seeing an ad" + (f": {about}" if about else ""))
    if fields.get("OriginalRepliedMessageSid"):
        notes.append("reply to an earlier message")
    if any(fields.get(name, "").lower() == "true" for name in ("Forwarded", "FrequentlyForwarded")):
        notes.append("forwarded message")
    return notes


def _attached(fields: Mapping[str, str], media: Sequence[Media]) -> list[str]:
    counts: dict[str, int] = {}
    for item in media:
        words = _media_words(item.content_type, fields)
        counts[words] = counts.get(words, 0) + 1
    return [words if count == 1 else f"{count} x {words}" for words, count in counts.items()]


def _media_words(content_type: str, fields: Mapping[str, str]) -> str:
    kind = content_type.partition(";")[0].strip().lower()
    on_whatsapp = fields["From"].startswith("whatsapp:")
    if fields.get("MessageType", "").lower() == "sticker" or (kind == "image/webp" and on_whatsapp):
        return "sticker"
    if kind in {"audio/ogg", "audio/amr", "audio/opus"}:
        return "voice note"
    if kind in {"text/vcard", "text/x-vcard", "text/directory"}:
        return "contact card"
    if kind == "application/pdf":
        return "PDF document"
    return {"image": "photo", "audio": "audio recording", "video": "video"}.get(kind.partition("/")[0], "document")


def _chosen(fields: Mapping[str, str], text: str) -> list[str]:
    notes = []
    if fields.get("ButtonText") or fields.get("ButtonPayload"):
        notes.append("tapped a button" + _choice(fields.get("ButtonText", ""), fields.get("ButtonPayload", ""), text))
    if fields.get("ListTitle") or fields.get("ListId"):
        notes.append("chose from a list" + _choice(fields.get("ListTitle", ""), fields.get("ListId", ""), text))
    return notes


def _choice(title: str, payload: str, text: str) -> str:
    """The label unless the text repeats it, and the id behind it, which only the person's client knew so far."""
    label = f': "{_quoted(title)}"' if title.strip() and title.strip() != text.strip() else ""
    return label + (f" (id: {_quoted(payload)})" if payload.strip() and payload != title else "")


def _place(fields: Mapping[str, str]) -> list[str]:
    if not (fields.get("Latitude") and fields.get("Longitude")):
        return []
    name = _joined(fields, "Label", "Address", separator=", ")
    where = f"{_quoted(fields['Latitude'])}, {_quoted(fields['Longitude'])}"
    return [f'location: "{name}" ({where})' if name else f"location: {where}"]


def _filled_in(fields: Mapping[str, str]) -> list[str]:
    data = fields.get("FlowData") or fields.get("InteractiveData")
    if not data:
        return []
    try:
        answers = json.loads(data)
    except (ValueError, RecursionError):
        answers = data
    if isinstance(answers, dict):
        return [
            f'filled in a form: "{_quoted("; ".join(f"{name} = {_plain(value)}" for name, value in answers.items()))}"'
        ]
    return [f'filled in a form: "{_quoted(_plain(answers))}"']


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _joined(fields: Mapping[str, str], *names: str, separator: str) -> str:
    return separator.join(_quoted(value) for name in names if (value := fields.get(name, "").strip()))


def _quoted(value: str) -> str:
    """One line, without the quotation marks that stand around words of the person."""
    flat = " ".join(value.replace('"', "'").split())
    return flat if len(flat) <= _QUOTED else flat[: _QUOTED - 1] + "…"
