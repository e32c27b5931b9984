"""Whether a text prints the system prompt back, however it is laid out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple
from unicodedata import normalize

from convoq.ai.prompt import DEFAULT_PROMPT, FRAME_HEADING

RUN: Final = 5  #: words in a row that are told to stem from the prompt
LEAST: Final = 20  #: words that have to stem from it; a sentence alone may be said by chance
SHARE: Final = 0.6  #: of an operator's instructions; or of the prompt, of which a list of prices may be most, so with
A_SENTENCE: Final = 8  #: words of instructions in it
MOST: Final = 120  #: words of instructions, however many there are
OPENING: Final = 40  #: words of a prompt that say who speaks, also where no instructions are recognised
_MISSED: Final = 2  # of an opening's words, at its edges

# No digits: lines that are numbered are the same lines.
_WORD: Final = re.compile(r"[^\W\d_]+")
# A line that is merely wrapped goes on in lower case.
_STATEMENT_END: Final = re.compile(r"(?<=[.!?。！？])\s+|\n(?=\s*[^a-zß-ÿ\s])|\n\s*\n")
# What tells a model what to be and to do, in six languages. Prices, opening hours and paragraphs of facts hold none of
# it, or little, and may be said.
_INSTRUCTION: Final = re.compile(
    r"""
    \b(?:you(?:['’]re|\s(?:are|act|speak|answer|reply|work|write|must|should|never|always|represent|do|have\sto|only))
    |your\s(?:name|role|task|job|goal|purpose|answers?|repl(?:y|ies)|tone|instructions|rules)
    |never|do\snot|don['’]t|avoid|refuse|decline|pretend|answer|reply|respond|assistant|persona
    |(?:tell|ask)\s(?:them|him|her|people|the)|if\s(?:some(?:one|body)|any(?:one|body)|they|asked)
    |the\s(?:customer|user|guest|client|person|patient|caller|visitor)
    |eres|te\sllamas|tu\s(?:nombre|papel|tarea|trabajo|función)|nunca|respond[ea]|contest[ea]|debes?|evit[ae]
    |habl[ae]|escrib[ae]|saluda|salude|asistente|si\s(?:alguien|(?:te\s)?preguntan?)|no\s(?:des|digas|inventes|prometas)
    |(?:el|la)\s(?:client[ea]|usuari[oa]|paciente|persona)
    |você\sé|seu\s(?:nome|papel)|não\s(?:d[êe]|diga|invente|fale|prometa|use)|deves?|fale|escreva|seja|pergunte
    |(?:o|a)\s(?:cliente|usuári[oa]|utilizador)|se\s(?:alguém|perguntarem)
    |tu\s(?:es|t['’]appelles|réponds)|vous\s(?:êtes|répondez)|(?:ton|votre)\srôle|jamais|répond(?:s|ez)
    |évitez?|parlez?|écri(?:s|vez)|sois|soyez|demandez|si\s(?:quelqu['’]un|on)
    |l['’](?:utilisateur|assistante?)|(?:le|la)\scliente?
    |du|deine?\s(?:aufgabe|rolle|name)|niemals|nie|antworte|vermeide|sprich|schreib|assistent(?:in)?
    |(?:wenn|falls)\sjemand|(?:der|den|dem|die)\s(?:kunde|kunden|kundin|nutzer|gast)
    |tu\ssei|ti\schiami|il\stuo\s(?:nome|compito|ruolo)|mai|rispondi|devi|evita|parla|scrivi|se\squalcuno
    |il\scliente|l['’]utente)\b
    |^\W*(?:\d+\W+)?(?:be|say|speak|write|use|keep|ask|tell|offer|mention|stay|greet|act|remember|suggest|sign|explain
    |help|make|follow|always|siempre|sempre|toujours|immer|sé|usa|di|sê|sei|nenne|sag)\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
# How to speak, which is told to a model alone. That a customer must bring an ID card is told to it for people.
_MANNER: Final = re.compile(
    r"""
    ^\W*(?:\d+\W+)?you\s(?:are|act|represent)\b
    |\b(?:you\s(?:answer|reply|speak|write)|your\s(?:name|role|task|tone|answers?|repl(?:y|ies))
    |answer|reply|respond|speak|pretend|reveal|invent|assistant
    |eres|te\sllamas|respond[ea]|contest[ea]|habl[ae]|escrib[ae]|inventes|asistente
    |você\sé|fale|escreva|invente|assistente
    |tu\s(?:es|t['’]appelles|réponds)|vous\s(?:êtes|répondez)|répond(?:s|ez)|parlez?|écri(?:s|vez)|assistante
    |du\sbist|antworte|sprich|schreib|assistent(?:in)?
    |tu\ssei|rispondi|parla|scrivi)\b
    """,
    re.IGNORECASE | re.VERBOSE,
)


class _Told(NamedTuple):
    """What of an operator's prompt tells the model what to be and to do."""

    all: tuple[str, ...]
    opening: tuple[str, ...]  #: its first words, unless they are about the business
    stretches: tuple[tuple[str, ...], ...]  #: its instructions, words that stand together
    words: int  #: of them
    manners: tuple[tuple[str, ...], ...]  #: those that say how to speak, each by itself


def prints_prompt(text: str, instructions: str) -> bool:
    """Whether much of what convoq or an operator tells the model comes back in the text: in runs of its words,
    whatever stands between them, and however they are wrapped, numbered, quoted or spelled.

    What the prompt says of the business may be said. Takes linear time.
    """
    words = _words(text)
    if len(words) < LEAST:
        return False
    said = _runs(words)
    prompt, _, own = instructions.partition(FRAME_HEADING)
    default = DEFAULT_PROMPT if DEFAULT_PROMPT in prompt else ""
    if _count(map(_words, (own, default)), said) >= LEAST:
        return True
    told = _told(prompt)
    if len(told.opening) >= LEAST and _count([told.opening], said) >= len(told.opening) - _MISSED:
        return True
    instructed = _count(told.stretches, said)
    if instructed >= MOST:
        return True
    if not any(_said_words(words, said) >= RUN for words in told.manners):
        return False
    is_most = instructed >= max(LEAST, told.words * SHARE)
    return is_most or (instructed >= A_SENTENCE and _count([told.all], said) >= len(told.all) * SHARE)


@lru_cache(maxsize=16)
def _told(prompt: str) -> _Told:
    stretches: list[list[str]] = [[]]
    manners: list[tuple[str, ...]] = []
    for statement in _STATEMENT_END.split(prompt):
        if _INSTRUCTION.search(statement):
            stretches[-1] += _words(statement)
            manners += [tuple(_words(statement))] if _MANNER.search(statement) else []
        elif stretches[-1]:
            stretches.append([])
    words, count = tuple(_words(prompt)), sum(map(len, stretches))
    is_of_business = count > 0 and _INSTRUCTION.search(_STATEMENT_END.split(prompt.lstrip())[0]) is None
    return _Told(words, () if is_of_business else words[:OPENING], tuple(map(tuple, stretches)), count, tuple(manners))


def _count(stretches: Iterable[Sequence[str]], said: frozenset[tuple[str, ...]]) -> int:
    """How many words of these stand in a run that was said, too."""
    return sum(_said_words(words, said) for words in stretches)


def _said_words(words: Sequence[str], said: frozenset[tuple[str, ...]]) -> int:
    count = reached = 0
    for start in range(len(words) - RUN + 1):
        if tuple(words[start : start + RUN]) in said:
            count += start + RUN - max(start, reached)
            reached = start + RUN
    return count


def _runs(words: Sequence[str]) -> frozenset[tuple[str, ...]]:
    return frozenset(zip(*(words[start:] for start in range(RUN)), strict=False))


def _words(text: str) -> list[str]:
    return _WORD.findall(normalize("NFKC", text).casefold())
