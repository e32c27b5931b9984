"""answer_operator: what came of a text from an operator's own phone is said there, once."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from convoq.channels.base import Channel, Failure, Outbound, SendFailed
from convoq.conversations.pacing import OperatorText, Pacing
from convoq.conversations.phones import Phones
from convoq.conversations.queries import Reading
from convoq.errors import RetryLater
from convoq.handlers.base import Handler, channel_of, each
from convoq.jobs import AnswerOperator
from convoq.logs import log
from convoq.queue.base import Job

LINES = 4  #: of a conversation that is shown
LONGEST_LINE = 300  #: characters
PAUSE = 10.0  #: seconds


def answer_operator(phones: Phones, reading: Reading, channels: Mapping[str, Channel], pacing: Pacing) -> Handler:
    """The handler. A customer's words are read when they are sent: no job holds them."""

    async def answer(job: Job) -> None:
        payload = AnswerOperator.model_validate_json(job.payload)
        if not await phones.may_be_told(payload.address):
            log.info("operator.unanswered", reason="the one who has the phone said STOP")
            return
        text = payload.text
        if payload.shows is not None:
            lines = await reading.newest_lines(LINES, conversation_id=payload.shows)
            said = [f"{line.message.author}: {line.message.description}"[:LONGEST_LINE] for line in lines]
            text = "\n".join([text, *said])
        try:
            for part in channel_of(channels, payload.channel).split(text, most=2):
                await pacing.wait(OperatorText(payload.channel, payload.our_address, part))
                await channel_of(channels, payload.channel).send(_outbound(payload, part))
        except SendFailed as error:
            if error.failure in (Failure.PERMANENT, Failure.OPTED_OUT, Failure.AMBIGUOUS):
                log.warning("operator.unanswered", reason=str(error))
                return
            raise RetryLater(error.delay or PAUSE, str(error)) from error

    return each(answer)


def _outbound(payload: AnswerOperator, body: str) -> Outbound:
    reference = secrets.token_hex(8)
    return Outbound(reference=reference, our_address=payload.our_address, address=payload.address, body=body)
