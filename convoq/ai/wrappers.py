"""What stands around an answer as a whole: JSON that was filled in, thoughts under a label, turns that were made up.

Each is known by its place, at the start or around everything, and by its other half; never by a word alone.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from operator import itemgetter
from typing import Any, Final

from convoq.ai.code import code_spans

_REASONING: Final = (
    "thinking|thoughts?|reasoning|analysis|reflections?|scratch_?pad|chain_of_thought|thought_process|internal|rationale"
    "|monologue|plan(?:ning)?|denken|gedanken|überlegung(?:en)?|pensamientos?|razonamiento|réflexion|raisonnement"
    "|pensamento|raciocínio|pensiero|ragionamento"
)
_ANSWER: Final = "answer|response|reply|antwort|respuesta|réponse|resposta|risposta|antwoord|odpowiedź|ответ|回答|答案"

# --- A form

_THOUGHT_KEY: Final = re.compile(
    rf"(?:\w{{1,20}}_)?(?:{_REASONING}|steps|explanation|thought_?process)(?:_\w{{1,20}})?|chainOfThought",
    re.IGNORECASE,
)
_ANSWER_KEY: Final = re.compile(
    rf"(?:(?:final|assistant|model|bot|agent|customer|user|suggested)_?)?(?:{_ANSWER})(?:_?(?:text|message|to_\w{{1,20}}))?"
    "|final_?output|final",
    re.IGNORECASE,
)
_TEXT_KEY: Final = re.compile(r"message|text|content|output|result|assistant", re.IGNORECASE)
_BESIDE: Final = re.compile(
    r"confidence(?:_\w+)?|lang(?:uage)?|sources?|citations?|references|intent|sentiment|tone|category|status|role|type"
    r"|finish_?reason|follow_?ups?|needs_\w+|done|is_final",
    re.IGNORECASE,
)
_FENCED: Final = re.compile(r"```(?:json)?[^\S\n]*\n([\s\S]*)```", re.IGNORECASE)
_FINAL_ACTION: Final = re.compile(r"final[ _]?(?:answer|response)", re.IGNORECASE)
_CUT_JSON: Final = re.compile(r'\A\s*(?:```(?:json)?\s+)?\{\s*"(\w{1,40})"\s*:\s*"((?:[^"\\]|\\.)*)\\?\Z', re.DOTALL)
_CUT_ANSWER: Final = re.compile(
    r'\A\s*(?:```(?:json)?\s+)?\{\s*"(\w{1,40})"\s*:\s*"(?:[^"\\]|\\.)*"\s*,\s*"(\w{1,40})"\s*:\s*"((?:[^"\\]|\\.)*)\\?\Z',
    re.DOTALL,
)
_LEAST_WORDS: Final = 3  # of a text that is an answer, and no value of JSON that was asked for


def without_form(text: str) -> str:
    """The answer alone, where the whole text is JSON with an answer in it: {"reasoning": .., "answer": ..}."""
    fenced = _FENCED.fullmatch(text.strip())
    if value := _object((fenced[1] if fenced else text).strip()):
        answer = _answer_of(value, is_fenced=fenced is not None)
        return text if answer is None else answer
    if (cut := _CUT_ANSWER.match(text)) and _THOUGHT_KEY.fullmatch(cut[1]) and _ANSWER_KEY.fullmatch(cut[2]):
        return _decoded(cut[3])
    if cut := _CUT_JSON.match(text):
        if _THOUGHT_KEY.fullmatch(cut[1]):
            return ""
        if _ANSWER_KEY.fullmatch(cut[1]):
            return _decoded(cut[2])
    return text


def _object(code: str) -> Mapping[str, Any] | None:
    if not (code.startswith("{") and code.endswith("}")):
        return None
    try:
        # strict: models write line ends as they are.
        value = json.loads(code, strict=False)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _decoded(code: str) -> str:
    try:
        return str(json.loads(f'"{code}"', strict=False))
    except ValueError:
        return ""


def _answer_of(value: Mapping[str, Any], *, is_fenced: bool) -> str | None:
    """None: as far as one can tell, the JSON itself was asked for."""
    if _FINAL_ACTION.fullmatch(str(value.get("action", ""))) and isinstance(value.get("action_input"), str):
        return str(value["action_input"])
    thoughts = [key for key in value if _THOUGHT_KEY.fullmatch(key)]
    answers = [key for key in value if _ANSWER_KEY.fullmatch(key)]
    texts = [] if answers else [key for key in value if _TEXT_KEY.fullmatch(key)]
    others = [key for key in value if key not in (*thoughts, *answers, *texts) and not _BESIDE.fullmatch(key)]
    if others or len(answers) + len(texts) != 1:
        return None
    text = value[(answers or texts)[0]]
    if not isinstance(text, str):
        return None
    is_sure = thoughts or (answers and not is_fenced and len(value) == 1)
    return text if is_sure or len(text.split()) >= _LEAST_WORDS else None


# --- Thoughts in front

_FIRST_FENCE: Final = re.compile(
    rf"\A\s*(`{{3,}}|~{{3,}})[^\S\n]*(?:{_REASONING}|think)\b[^\n]*\n[\s\S]*?(?:^[^\S\n]*\1[^\S\n]*$|\Z)",
    re.IGNORECASE | re.MULTILINE,
)
_COMMENT: Final = re.compile(
    rf"\s*(?:(?P<ends>/|end(?:[ _-]of)?[ _-])|(?:begin|start)[ _-])?\s*(?:think|{_REASONING})\b", re.IGNORECASE
)
_ANSWER_COMMENT: Final = re.compile(rf"\s*(?:final[ _-])?(?:{_ANSWER})\b", re.IGNORECASE)
_LINE_BEFORE: Final = re.compile(r"(?:\A|\n)[^\S\n]*\Z")
_LINE_AFTER: Final = re.compile(r"[^\S\n]*\n\s*(?!<|\s)")
# "Analysis:" and "Thoughts:" are not among them: people ask for those, and for an answer below.
_LABEL: Final = (
    r"(?:(?:my|internal|step[- ]by[- ]step)\s)?(?:reasoning|thinking|thought process|chain of thought|scratchpad)"
    r"(?:\s(?:process|steps?))?|überlegung(?:en)?|gedankengang|denkprozess|razonamiento|raisonnement|raciocínio"
    r"|ragionamento|redenering|rozumowanie|рассуждение|推理|思考"
)
_LABELLED: Final = re.compile(
    rf"\A[*_#\s]{{0,6}}(?:{_LABEL})[*_]{{0,3}}\s?[:：][\s\S]*?^[*_#>\s]{{0,6}}"
    rf"(?:(?:final|my|customer|finale|endgültige|final\w*)\s)?(?:{_ANSWER}|output)(?:\sto\s\w+(?:\s\w+)?)?"
    r"[*_]{0,3}\s?[:：][*_]{0,3}",
    re.IGNORECASE | re.MULTILINE,
)
#: How thoughts begin that no answer follows: what the person wants, what is to be done for it. What the customer pays
#: is an answer.
ABOUT_THEM: Final = (
    r"(?i:(?:they|(?:the|this) (?:user|customer|person|client|guest))"
    r"(?:['’]re| is| are| has| have)?(?: just| now| also)? "
    r"(?:ask(?:s|ed|ing)?|want(?:s|ed|ing)?|inquir(?:es|ed|ing)|wonder(?:s|ed|ing)?|would like"
    r"|request(?:s|ed|ing)?|said|says|saying|wrote|mention(?:s|ed))"
    r"|i (?:need|should|must|have)(?: to)? (?:now |first |also )?"
    r"(?:answer|reply|respond|check|look|call|use|find|ask|get)"
    r"|(?:der|die) (?:kunde|kundin|nutzer(?:in)?) (?:fragt|möchte|will|wünscht|sucht|erkundigt|bittet)"
    r"|el (?:cliente|usuario) (?:pregunta|quiere|pide|desea|solicita)"
    r"|(?:le client|l['’]utilisateur) (?:demande|veut|souhaite)"
    r"|o (?:cliente|usuário) (?:pergunta|quer|pede|deseja)"
    r"|(?:il cliente|l['’]utente) (?:chiede|vuole|desidera))"
)
_LABELLED_CUT: Final = re.compile(
    rf"\A[*_#\s]{{0,6}}(?:{_LABEL})[*_]{{0,3}}\s?[:：][*_\s]{{0,4}}{ABOUT_THEM}\b[\s\S]*", re.IGNORECASE
)


def without_thoughts(text: str) -> str:
    """Without thoughts that stand in front: in a fence, in comments, or under a label and above that of the answer."""
    text = "".join(_uncommented(_FIRST_FENCE.sub("", text)))
    return _LABELLED_CUT.sub("", _LABELLED.sub("", text))


def _uncommented(text: str) -> Iterator[str]:
    """Between comments that open and close thoughts, and without one that goes before everything, unless HTML does."""
    comments = list(_comments(text)) if "<!--" in text else []
    ends = [start for start, _, said in comments if (match := _COMMENT.match(said)) and match["ends"]]
    at, hidden = 0, False
    for start, end, said in comments:
        match = _COMMENT.match(said)
        if hidden and ((match and match["ends"]) or _ANSWER_COMMENT.match(said)):
            at, hidden = end, False
        elif not hidden and _is_thought(text, start, end, is_named=match is not None):
            yield text[at:start]
            at, hidden = end, match is not None and not match["ends"] and bool(ends) and ends[-1] > end
    yield text[at:]


def _is_thought(text: str, start: int, end: int, *, is_named: bool) -> bool:
    begins = _LINE_BEFORE.search(text, max(0, start - 40), start) is not None
    if is_named and begins:
        return True
    return not text[:start].strip() and _LINE_AFTER.match(text, end) is not None


def _comments(text: str) -> Iterator[tuple[int, int, str]]:
    code = list(code_spans(text))
    start = text.find("<!--")
    while start >= 0 and (end := text.find("-->", start + 4)) >= 0:
        span = bisect_right(code, start, key=itemgetter(0)) - 1
        if span < 0 or start >= code[span][1]:
            yield start, end + 3, text[start + 4 : end]
        start = text.find("<!--", end)


# --- Turns behind

#: What models call the person in dialogues that they make up.
THEIRS: Final = (
    "user|human|customer|client|nutzer(?:in)?|kund(?:e|in)|usuari[oa]|client[ea]|utilisat(?:eur|rice)|utente"
)
_OURS: Final = "assistant|ai|bot|chatbot|assistent(?:in)?|asistente|assistente"
_TURN: Final = re.compile(
    rf"^[*_#\s]{{0,4}}(?:(?P<theirs>{THEIRS})|(?P<ours>{_OURS})|\w[\w ]{{0,30}})[*_]{{0,3}}:[*_]{{0,3}}(?P<said>.*)",
    re.IGNORECASE | re.MULTILINE,
)
_SENTENCE_ENDS: Final = ".!?…。！？)"
_EXAMPLE: Final = re.compile(
    r"example|sample|dialog|\bchat|conversation|script|beispiel|gespräch|ejemplo|diálogo|conversa|exemple|esempio",
    re.IGNORECASE,
)
_LEAST_SPOKEN: Final = 4  # words of what is said without an end of a sentence; of names, most begin in capitals


def without_turns(text: str) -> str:
    """Without the turns of a dialogue that the model has made up behind its answer, or has written in front of it."""
    lines = list(_TURN.finditer(text))
    first = next((at for at, line in enumerate(lines) if line["theirs"]), None)
    if first is None or not _is_spoken(lines[first]["said"]):
        return text
    before, turns = text[: lines[first].start()].rstrip(), lines[first:]
    if not all(turn["theirs"] or turn["ours"] for turn in turns):
        return text  # a list of what is known of a customer
    answered = any(turn["ours"] for turn in turns)
    if not before:
        return text[turns[1].start("said") :] if len(turns) == 2 and answered else text
    if not before.rstrip("*_").endswith(tuple(_SENTENCE_ENDS)) or _EXAMPLE.search(before):
        return text
    is_asked = turns[-1].end() == len(text) and turns[0]["said"].rstrip().endswith("?")
    return before if answered or (len(turns) == 1 and is_asked) else text


def _is_spoken(said: str) -> bool:
    if said.rstrip().endswith(tuple(_SENTENCE_ENDS)):
        return True
    words = said.split()
    return len(words) >= _LEAST_SPOKEN and 2 * sum(word.islower() for word in words) >= len(words)
