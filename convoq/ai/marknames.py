"""The names of the marks that models write as tags, as parts of regular expressions that ignore case."""

from __future__ import annotations

from typing import Final

# Names are put together of these, in any spelling: "thoughtProcess", "reasoning_content", "final-answer".
REASONING: Final = "think|thinking|reasoning|scratchpad|inner_monologue|chain_of_thought"
LIKE_REASONING: Final = (
    r"(?:[a-z]{1,20}[_-]){0,3}(?:think|thinking|thoughts?|reasoning|reflections?|analysis|scratch_?pad|monologue"
    r"|rationale|deliberation|introspection|brainstorm|critique|cot)"
    r"(?:[_-]?(?:process|content|steps?|trace|text|blocks?|section|summary|log|notes?|chain|mode|budget))?"
    r"|self[_-](?:reflection|critique|talk|reasoning)"
)
TOOLS: Final = (
    "tool_calls?|tool_use|tool_code|tool_response|tool_results?|tool_outputs?|function_calls?|function_results?"
    "|function_response|(?-i:TOOLCALL)|function(?==)|(?<=/)function"
)
LIKE_TOOLS: Final = (
    "(?:tool|function|plugin|api)[_-]?(?:calls?|use|code|request|response|results?|outputs?|input|execution)"
    "|action[_-]input"
)
ANSWERS: Final = "final_answer"
LIKE_ANSWERS: Final = (
    "(?:(?:final|assistant|model|bot|agent|user|customer|chat)[_-]?)(?:answer|response|reply|output|solution)"
    "(?:[_-]?(?:text|message|content|to[_-](?:the[_-])?(?:user|customer)))?"
)
# Words that people write, too: a menu's <Analysis>, a <response> in XML. They are marks by where they stand alone.
REASONING_WORDS: Final = (
    "thoughts?|reflections?|analysis|rationale|deliberation|introspection|brainstorm|critique|monologue"
    "|denken|nachdenken|gedanken(?:gang)?|überlegung(?:en)?|pensamientos?|razonamiento|réflexions?|pensées?"
    "|raisonnement|pensamentos?|raciocínio|pensier[oi]|ragionamento|gedachten?|redenering|myślenie|rozumowanie"
    "|мысли|размышлени[ея]|рассуждени[ея]|思考|推理|생각"
)
ANSWER_WORDS: Final = (
    "final|answer|response|antwort|respuesta|réponse|resposta|risposta|antwoord|odpowiedź|ответ|回答|答案"
)
BRACKETED: Final = "think(?:ing)?|reasoning|thoughts?|analysis|reflection|scratchpad|internal|denken|pensando"
PREFIX: Final = r"(?:\w{1,20}:|[|｜]\w{1,20}[|｜])?"
