"""A message that says nothing but thanks or goodbye, in five languages: it needs no answer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from convoq.conversations.asking import LONGEST, plain_words


class Phrases(NamedTuple):
    """Without accents, apostrophes and capitals. A greeting is none: "boa noite" may also begin a conversation."""

    goodbye: tuple[str, ...]
    thanks: tuple[str, ...]
    assent: tuple[str, ...]  #: may answer a question of ours
    besides: tuple[str, ...]  #: says nothing by itself


class Closing(NamedTuple):
    """What the whole message says."""

    is_goodbye: bool
    assents: bool  #: so it may be an answer


PHRASES: Final[Mapping[str, Phrases]] = {
    "en": Phrases(
        goodbye=(
            "bye", "bye bye", "goodbye", "good bye", "see you", "see you later", "see you soon", "see ya", "take care",
            "that is all", "thats all", "thatll be all", "that will be all", "that was all", "nothing else",
            "have a nice day", "have a good day", "have a great day", "have a good one", "have a nice weekend",
        ),
        thanks=(
            "thanks", "thank you", "thank u", "thx", "ty", "many thanks", "cheers", "much appreciated",
            "i appreciate it", "appreciate it",
        ),
        assent=("ok", "okay", "great", "perfect", "cool", "super", "awesome", "got it", "alright", "all right", "fine"),
        besides=(
            "a lot", "so much", "very much", "again", "for your help", "for the help", "for helping", "for everything",
            "for the info", "for the information", "for now", "you too", "and", "good night", "very helpful",
        ),
    ),
    "es": Phrases(
        goodbye=(
            "adios", "chao", "chau", "hasta luego", "hasta pronto", "nos vemos", "eso es todo", "es todo",
            "eso era todo", "nada mas", "que tengas un buen dia", "que tenga un buen dia", "que tengas buen dia",
            "que tenga buen dia", "feliz dia",
        ),
        thanks=(
            "gracias", "muchas gracias", "mil gracias", "muchisimas gracias", "te lo agradezco", "se lo agradezco",
            "muy amable",
        ),
        assent=("ok", "vale", "perfecto", "genial", "bien", "muy bien", "de acuerdo", "listo", "entendido"),
        besides=(
            "por todo", "por la ayuda", "por tu ayuda", "por su ayuda", "por la informacion", "por la info",
            "igualmente", "y", "de nuevo", "buen dia", "buenas tardes", "buenas noches",
        ),
    ),
    "pt": Phrases(
        goodbye=(
            "tchau", "xau", "adeus", "ate logo", "ate mais", "ate breve", "ate a proxima", "e so isso", "so isso",
            "era so isso", "isso e tudo", "e tudo", "mais nada", "tenha um bom dia", "um bom dia para voce",
        ),
        thanks=(
            "obrigado", "obrigada", "muito obrigado", "muito obrigada", "obg", "brigado", "brigada", "valeu", "vlw",
            "agradeco", "agradecido", "agradecida", "grato", "grata",
        ),
        assent=("ok", "perfeito", "otimo", "optimo", "certo", "ta bom", "esta bem", "beleza", "combinado", "show"),
        besides=(
            "pela ajuda", "por tudo", "pela atencao", "pela informacao", "igualmente", "e", "mais uma vez", "bom dia",
            "boa tarde", "boa noite", "bom fim de semana", "bom final de semana",
        ),
    ),
    "fr": Phrases(
        goodbye=(
            "au revoir", "a bientot", "a plus", "a plus tard", "bonne journee", "bonne soiree", "bonne nuit", "ciao",
            "cest tout", "ce sera tout", "rien dautre", "bon weekend", "bon week end",
        ),
        thanks=(
            "merci", "merci beaucoup", "merci bien", "mille mercis", "un grand merci", "grand merci",
            "je vous remercie", "je te remercie",
        ),
        assent=("ok", "daccord", "parfait", "super", "tres bien", "entendu", "genial", "cest bon", "cest note"),
        besides=(
            "pour tout", "pour votre aide", "pour ton aide", "pour laide", "pour linformation", "a vous aussi",
            "a toi aussi", "et", "encore", "encore une fois",
        ),
    ),
    "de": Phrases(
        goodbye=(
            "tschuss", "tschuess", "auf wiedersehen", "bis bald", "bis dann", "ciao", "das war alles", "das ist alles",
            "das wars", "das war es", "schonen tag", "schoenen tag", "schonen tag noch", "schoenen tag noch",
            "einen schonen tag", "einen schoenen tag", "einen schonen tag noch", "einen schoenen tag noch",
            "schonen abend", "schoenen abend", "schonen abend noch", "schoenen abend noch", "schones wochenende",
            "schoenes wochenende", "gute nacht", "machs gut", "mach es gut",
        ),
        thanks=(
            "danke", "danke schon", "danke schoen", "dankeschon", "dankeschoen", "danke sehr", "danke dir",
            "danke ihnen", "vielen dank", "besten dank", "herzlichen dank", "tausend dank", "merci",
        ),
        assent=("ok", "okay", "super", "perfekt", "toll", "alles klar", "gut", "in ordnung", "prima", "passt", "klar"),
        besides=(
            "fur die hilfe", "fuer die hilfe", "fur ihre hilfe", "fuer ihre hilfe", "fur deine hilfe",
            "fuer deine hilfe", "fur alles", "fuer alles", "fur die info", "fuer die info", "ebenfalls", "gleichfalls",
            "und", "nochmal", "nochmals",
        ),
    ),
}  # fmt: skip


def closing_in(text: str) -> Closing | None:
    """None where the message says, asks or shows anything besides."""
    if len(text) > LONGEST or "?" in text:
        return None
    words = plain_words(text)
    return next((found for language in PHRASES if (found := _closing(words, language)) is not None), None)


def _closing(words: str, language: str) -> Closing | None:
    if _WHOLE[language].fullmatch(words) is None:
        return None
    said = {match.lastgroup for match in _EACH[language].finditer(words)}
    return Closing("goodbye" in said, "assent" in said) if said & {"goodbye", "thanks"} else None


def _any(phrases: Iterable[str]) -> str:
    """The longest first, so that "see you" leaves no "later"."""
    return "|".join(sorted(map(re.escape, phrases), key=len, reverse=True))


_EACH: Final = {
    language: re.compile(
        rf"(?:{'|'.join(f'(?P<{kind}>{_any(texts)})' for kind, texts in phrases._asdict().items())})(?: |\Z)"
    )
    for language, phrases in PHRASES.items()
}
_WHOLE: Final = {
    language: re.compile(rf"(?:(?:{_any(one for texts in phrases for one in texts)})(?: |\Z))+")
    for language, phrases in PHRASES.items()
}
