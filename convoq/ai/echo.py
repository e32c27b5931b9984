"""Whether a text prints the system prompt back, however it is laid out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple
from unicodedata import normalize

from convoq.ai.prompt import DEFAULT_PROMPT, FACTS_HEADING, FRAME_HEADING

RUN: Final = 5  #: words in a row that are told to stem from the prompt; one less where words are long
LONG_WORDS: Final = 5.8  # letters, on average: languages that write "of the clinic" in one word

# How much is told is counted in letters, which every language needs about as many of; a character of Chinese, Japanese
# and Korean for two and a half.
LEAST: Final = 90  #: that have to stem from it; a sentence alone may be said by chance
SHARE: Final = 0.6  #: of an operator's instructions; or of the prompt, of which a list of prices may be most, so with
A_SENTENCE: Final = 36  #: of instructions in it
MOST: Final = 540  #: of instructions, however many there are
ALL_BUT: Final = 0.8  #: of a prompt in which no instructions are recognised
OPENING: Final = 40  #: words of a prompt that say who speaks, also where no instructions are recognised
_MISSED: Final = 10  # of an opening's letters, at its edges

_IDEOGRAPHS: Final = "\u3400-\u4dbf\u4e00-\u9fff々"
_HIRAGANA: Final = "\u3041-\u309f"
_DENSE: Final = re.compile(f"[{_IDEOGRAPHS}{_HIRAGANA}\u30a0-\u30ff\uac00-\ud7af]")
# No digits: lines that are numbered are the same lines. What is written without blanks falls apart where the script
# changes, and every few characters.
_WORD: Final = re.compile(
    rf"[{_IDEOGRAPHS}]{{1,2}}|[{_HIRAGANA}]{{1,4}}|[\u30a0-\u30ff]+|[^\W\d_{_IDEOGRAPHS}{_HIRAGANA}\u30a0-\u30ff]+"
)
# A line that is merely wrapped goes on in lower case.
_STATEMENT_END: Final = re.compile(r"(?<=[.!?؟।])\s+|(?<=[。！？])\s*|\n(?=\s*[^a-zß-ÿа-яёіїєґ\s])|\n\s*\n")
# What tells a model what to be and to do, in many languages. Prices, opening hours and paragraphs of facts hold none of
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
    |il\scliente|l['’]utente
    |(?:je|jij)\sbent|u\sbent\s(?:de|een)|(?:jouw|uw)\s(?:naam|taak|rol)|nooit|antwoord|vermijd|spreek|als\siemand
    |du\s(?:är|er)\s(?!v[äe]lkommen)|aldrig|aldri|svara|svar|undvik|undgå|skriv|om\snågon|hvis\sno(?:en|gen)
    |jesteś|nigdy|odpowiadaj|odpowiedz|unikaj|pisz|mów|asystent(?:em|ką|ka)?|(?:jeśli|jeżeli|gdy)\sktoś
    |jsi|nikdy|odpovídej|odpověz|piš|mluv|(?:když|pokud)\sněkdo|asistent(?:em|kou|ka)?
    |ești|niciodată|răspunde|evită|vorbește|scrie|dacă\scineva|asistent(?:ul|a)?
    |ты|никогда|отвечай(?:те)?|избегай(?:те)?|пиши(?:те)?|говори(?:те)?|не\s(?:давай|говори|обещай|выдумывай)(?:те)?
    |если\s(?:кто|клиент|спрашива|спрос)\w*(?:-то)?|пользовател\w*|помощни\w+|ассистент\w*
    |ти|ніколи|відповідай(?:те)?|уникай(?:те)?|пиши|говори|якщо\sхтось|помічни\w+
    |أنت|أنتِ|أجب|أجيبي|لا\s(?:تقدم|تعط|تذكر|تخترع|تعد)\w*|إذا\s(?:طلب|سأل|أراد)\w*|المستخدم|تحدث|اكتب
    |sen|asla|yanıt(?:la)?|cevap(?:la)?|kaçın|konuş|biri\s\w+\s(?:isterse|sorarsa)|asistan\w*
    |te\svagy|soha|válaszolj|kerüld|írj|beszélj|ha\svalaki|asszisztens\w*
    |olet|älä|koskaan|vastaa|kirjoita|puhu|jos\sjoku|avustaja
    |είσαι|ποτέ|απάντα|απάντησε|γράψε|μίλα|αν\sκάποιος|βοηθός
    |उत्तर|जवाब|सहायक|यदि\sकोई|अगर\sकोई|kamu|anda\sadalah|jangan|jawab\w*|jika\sada|asisten)\b
    |あなたは|しないでください|てはいけません|決して|答え|回答|返信|ユーザー|アシスタント|(?:求め|聞か|質問さ)れたら
    |你是|不得|绝不|绝对不|不要(?:提供|透露|编造|承诺|讨论)|回答|回复|如果有人|用户|助手|絕不|回覆
    |당신은|너는|하지\s마세요|답변|대답|절대|누군가|사용자|상담원|คุณ(?:คือ|เป็น)|ห้าม|ตอบ
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
    |tu\ssei|rispondi|parla|scrivi
    |(?:je|jij)\sbent|antwoord|spreek|schrijf|assistent|du\s(?:är|er)\s(?!v[äe]lkommen)|svara|svar|skriv
    |jesteś|odpowiadaj|mów|pisz|asystent\w*|jsi|odpovídej|mluv|piš|ești|răspunde|vorbește|scrie
    |ты|отвечай(?:те)?|говори(?:те)?|пиши(?:те)?|выдумывай(?:те)?|помощни\w+|ассистент\w*
    |ти|відповідай(?:те)?|помічни\w+|أنت|أنتِ|أجب|أجيبي|تحدث|اكتب|تخترع
    |sen|yanıt(?:la)?|cevap(?:la)?|konuş|asistan\w*|te\svagy|válaszolj|írj|beszélj|olet|vastaa|kirjoita|puhu
    |είσαι|απάντα|απάντησε|γράψε|μίλα|उत्तर|जवाब|सहायक|kamu|jawab\w*|asisten)\b
    |あなたは|答え|回答|返信|アシスタント|你是|回答|回复|回覆|助手|당신은|너는|답변|대답|상담원|คุณ(?:คือ|เป็น)|ตอบ
    """,
    re.IGNORECASE | re.VERBOSE,
)

_FACTS: Final = re.compile(rf"^- {re.escape(FACTS_HEADING)}.*$", re.MULTILINE)
# What is meant to be said, behind a colon on the same line.
_SAID: Final = re.compile(
    r"""
    (?<!\bto\s)\b(?P<verb>say|tell\sthem|answer|reply|respond|write|greet|welcome|thank
    |di|diga|saluda|salude|respond[ea]|contest[ea]|escrib[ae]
    |sag[et]?|begrüß[et]?|grüß[et]?|antworte|schreib[et]?
    |dis|dites|salue[zr]?|répond(?:s|ez)|accueille[zr]?
    |cumprimente|saúde|responda|escreva|saluta|rispondi|scrivi|zeg|begroet|antwoord)
    \b(?:[^\S\n]+[^\s:.;,]+){0,4}[^\S\n]*[:：][^\S\n]*(?P<said>\S[^\n]*)
    """,
    re.IGNORECASE | re.VERBOSE,
)


class _Told(NamedTuple):
    """What of an operator's prompt tells the model what to be and to do."""

    all: tuple[str, ...]
    opening: tuple[str, ...]  #: its first words, unless they are about the business
    stretches: tuple[tuple[str, ...], ...]  #: its instructions, words that stand together
    letters: int  #: of them
    run: int
    manners: tuple[tuple[str, ...], ...]  #: those that say how to speak, each by itself


def prints_prompt(text: str, instructions: str) -> bool:
    """Whether much of what convoq or an operator tells the model comes back in the text: in runs of its words,
    whatever stands between them, and however they are wrapped, numbered, quoted or spelled.

    What the prompt says of the business may be said. Takes linear time.
    """
    words = _words(text)
    if _letters(words) < LEAST:
        return False
    prompt, _, own = instructions.partition(FRAME_HEADING)
    own = _FACTS.sub("", own)
    default = DEFAULT_PROMPT if DEFAULT_PROMPT in prompt else ""
    if _count(map(_words, (own, default)), _runs(words, RUN), RUN) >= LEAST:
        return True
    told = _told(_without_said(prompt))
    said = _runs(words, told.run)
    opening = _letters(told.opening)
    if opening >= LEAST and _count([told.opening], said, told.run) >= opening - _MISSED:
        return True
    instructed, in_all = _count(told.stretches, said, told.run), _count([told.all], said, told.run)
    if not told.letters:
        return in_all >= max(LEAST, _letters(told.all) * ALL_BUT)
    if instructed >= MOST:
        return True
    if not any(_count([words], said, told.run) for words in told.manners):
        return False
    is_most = instructed >= max(LEAST, told.letters * SHARE)
    return is_most or (instructed >= A_SENTENCE and in_all >= max(LEAST, _letters(told.all) * SHARE))


def _without_said(prompt: str) -> str:
    return _SAID.sub(lambda match: match[0][: match.start("said") - match.start()], prompt)


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
    words, count = tuple(_words(prompt)), sum(map(_letters, stretches))
    is_of_business = count > 0 and _INSTRUCTION.search(_STATEMENT_END.split(prompt.lstrip())[0]) is None
    return _Told(
        all=words,
        opening=() if is_of_business else words[:OPENING],
        stretches=tuple(map(tuple, stretches)),
        letters=count,
        manners=tuple(manners),
        run=RUN if not words or _letters(words) / len(words) < LONG_WORDS else RUN - 1,
    )


def _count(stretches: Iterable[Sequence[str]], said: frozenset[tuple[str, ...]], run: int) -> int:
    """How many letters of these words stand in a run that was said, too."""
    return sum(_said_letters(words, said, run) for words in stretches)


def _said_letters(words: Sequence[str], said: frozenset[tuple[str, ...]], run: int) -> int:
    count = reached = 0
    for start in range(len(words) - run + 1):
        if tuple(words[start : start + run]) in said:
            count += _letters(words[max(start, reached) : start + run])
            reached = start + run
    return count


def _runs(words: Sequence[str], run: int) -> frozenset[tuple[str, ...]]:
    return frozenset(zip(*(words[start:] for start in range(run)), strict=False))


def _letters(words: Iterable[str]) -> int:
    text = "".join(words)
    return len(text) + 3 * len(_DENSE.findall(text)) // 2


def _words(text: str) -> list[str]:
    return _WORD.findall(normalize("NFKC", text).casefold())
