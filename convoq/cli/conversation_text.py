"""Conversations for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from convoq.channels.twilio.errors import meaning
from convoq.cli.terminal.output import colored
from convoq.cli.terminal.table import print_table
from convoq.conversations.queries import Line, Summary, Transcript, Transition, delivery_of
from convoq.conversations.records import Conversation, Message, OutboxRow
from convoq.conversations.resending import first_send
from convoq.conversations.states import DEAD_ENDS, Outcome, Owner
from convoq.monitoring.transcripts import is_unanswered
from convoq.queue.base import JobRecord, JobState
from convoq.text import age, counted, harmless, last_line, local_time, mask_address, masked

NAMES = {"contact": "person", "ai": "AI", "operator": "operator", "system": "convoq"}
MARGIN = "    "  # before each line of a message, so that none can pass for a line of the transcript's own


def print_summaries(summaries: Sequence[Summary], *, now: int, full: bool) -> None:
    """One line a conversation."""
    header = ("ID", "PERSON", "NAME", "STATUS", "BY", "MESSAGES", "WAITING", "LAST", "TEXT")
    rows = [
        (
            str(summary.conversation.id),
            _shown_address(summary.conversation, full),
            summary.conversation.contact.name or "",
            _status(summary.conversation),
            answered_by(summary.conversation),
            str(summary.messages),
            str(summary.waiting or ""),
            age((now - summary.conversation.last_message_at) / 1000),
            _preview(summary.last, full),
        )
        for summary in summaries
    ]
    print_table(header, rows, right=("ID", "MESSAGES", "WAITING", "LAST"), ends=("PERSON",))


def _shown_address(conversation: Conversation, full: bool) -> str:
    return conversation.contact.address if full else mask_address(conversation.contact.address)


def _status(conversation: Conversation) -> str:
    why = "opted out" if conversation.contact.opted_out_at is not None else conversation.closed_reason
    return f"{conversation.status} ({why})" if why else str(conversation.status)


def answered_by(conversation: Conversation) -> str:
    """One word, or the name of a person of ours."""
    if conversation.owner is Owner.HUMAN and conversation.owner_name:
        return harmless(conversation.owner_name)
    return "paused" if conversation.owner is Owner.AI and conversation.is_paused else str(conversation.owner)


def _who_answers(conversation: Conversation, now: int) -> str:
    since = "" if conversation.owner_since is None else f" since {age((now - conversation.owner_since) / 1000)}"
    match conversation.owner:
        case Owner.WAITING:
            return f"waits for a person of ours{since} ({conversation.handed_reason})"
        case Owner.HUMAN:
            return f"answered by {answered_by(conversation)}{since}"
        case _:
            return f"answered by {conversation.owner}{', which is paused' if conversation.is_paused else ''}"


def _preview(last: Line | None, full: bool) -> str:
    if last is None:
        return ""
    text = " ".join(last.message.description.split())
    fate = last.delivery or (Outcome.FAILED if last.message.outcome is Outcome.FAILED else None)
    return f"{NAMES[last.message.author]}: {text if full else masked(text)}{f' [{fate}]' if fate else ''}"


def print_transcript(transcript: Transcript, jobs: Mapping[int, JobRecord], *, now: int) -> None:
    """The head, then everything in the order of its time."""
    conversation, contact = transcript.conversation, transcript.conversation.contact
    name = f"{contact.name}, " if contact.name else ""
    shown = len(transcript.lines)
    messages = counted(transcript.messages, "message") + (f" ({shown} shown)" if shown < transcript.messages else "")
    print(colored("bold", harmless(f"Conversation {conversation.id}: {name}{contact.address}")))
    print(f"  with      {harmless(conversation.our_address)}")
    print(f"  status    {_status(conversation)}, {harmless(_who_answers(conversation, now))}")
    print(f"  opened    {local_time(conversation.opened_at)}")
    print(f"  last      {age((now - conversation.last_message_at) / 1000)} ago, {messages}")
    if transcript.previous_id is not None:
        print(f"  before    conversation {transcript.previous_id}")
    if transcript.calls:
        print(f"  model     {_costs(transcript)}")
    blocks = [*_message_blocks(transcript, jobs), *_draft_blocks(transcript), *_change_blocks(transcript)]
    blocks += _note_blocks(transcript)
    for _, _, lines in sorted(blocks):
        print()
        for line in lines:
            print(line)


def _costs(transcript: Transcript) -> str:
    calls = transcript.calls
    models = ", ".join(dict.fromkeys(call.model for call in calls))
    failed = sum(call.outcome != "ok" for call in calls)
    tokens = f"{sum(call.input_tokens for call in calls)} tokens in, {sum(call.output_tokens for call in calls)} out"
    text = f"{counted(len(calls), 'call')} to {models}, {tokens}" + (f", {failed} failed" if failed else "")
    return harmless(text)


Block = tuple[int, int, list[str]]  # when, which of those at the same time, the lines


def _message_blocks(transcript: Transcript, jobs: Mapping[int, JobRecord]) -> Iterator[Block]:
    for index, line in enumerate(transcript.lines):
        yield line.message.at, 2 * index, list(_message_lines(line, jobs))


def _message_lines(line: Line, jobs: Mapping[int, JobRecord]) -> Iterator[str]:
    message = line.message
    color = "green" if message.author == "ai" else "bold"
    author = harmless(message.written_by or NAMES[message.author])
    yield f"{local_time(message.at)}  {colored(color, author)}  {colored('dim', f'#{message.id}')}"
    yield from _indented(message.description)
    if message.direction == "in":
        outcome = _outcome(line, jobs)
        yield colored("red" if outcome.startswith("not answered") else "dim", f"{MARGIN}-> {harmless(outcome)}")
    for part in line.parts:
        yield colored(_part_color(part), f"{MARGIN}-> {harmless(_part(part, line.parts))}")
        if known := meaning(part.error_code):
            yield f"{MARGIN}   {known.hint}"


def _indented(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        yield MARGIN + harmless(line.removesuffix("\r"))


def _outcome(line: Line, jobs: Mapping[int, JobRecord]) -> str:
    message = line.message
    if is_unanswered(line):
        return _unanswered(message, jobs.get(message.id))
    if message.answered_by is not None:
        return f"answered by #{message.answered_by}"
    if message.outcome is Outcome.HUMAN:
        return f"for a person of ours: {message.reason}" if message.reason else "for a person of ours"
    if message.outcome is Outcome.NO_REPLY:
        return f"no answer: {message.reason}" if message.reason else "needs no answer"
    return str(message.outcome)


def _unanswered(message: Message, job: JobRecord | None) -> str:
    """Whether an answer may still come, and if not, why and what brings it."""
    if message.outcome is None:
        cause = None if job is None else job.reason or last_line(job.error)
        name = "" if job is None else f" (job {job.id}: {cause})" if cause else f" (job {job.id})"
        return f"waits for its answer{name}"
    remedy = f" (convoq jobs retry {job.id})" if job is not None and job.state is not JobState.DONE else ""
    return f"not answered: {message.reason or message.outcome}{remedy}"


def _part(part: OutboxRow, parts: Sequence[OutboxRow]) -> str:
    first = first_send(part, parts)
    several = sum(one.resend_of is None for one in parts) > 1
    name = f"part {first.part + 1}" if several else ""
    name += f"{' ' if several else ''}sent again" if part is not first else ""
    words = [f"{name}: {delivery_of(part)}" if name else delivery_of(part)]
    if part.provider_id:
        words.append(part.provider_id)
    if part.error_code:
        words.append(f"code {part.error_code}")
    if part.error:
        words.append(part.error)
    return ", ".join(words)


def _part_color(part: OutboxRow) -> str:
    if delivery_of(part) in DEAD_ENDS:
        return "red"
    return "yellow" if part.state == "ambiguous" else "dim"


def _draft_blocks(transcript: Transcript) -> Iterator[Block]:
    for index, draft in enumerate(sorted(transcript.drafts, key=lambda draft: draft.at)):
        what = colored("yellow", "draft, given up for newer messages")
        head = f"{local_time(draft.at)}  {what}  {colored('dim', f'for #{draft.through}')}"
        yield draft.at, 2 * index + 1, [head, *_indented(draft.text)]


def _note_blocks(transcript: Transcript) -> Iterator[Block]:
    for index, note in enumerate(transcript.notes):
        head = f"{local_time(note.at)}  {colored('yellow', f'note of {harmless(note.who)}')}"
        yield note.at, 1_000_000 + index, [head, *_indented(note.text)]


def _change_blocks(transcript: Transcript) -> Iterator[Block]:
    for index, change in enumerate(transcript.transitions):
        # Before the message that opened it: that was accepted a moment earlier than the conversation was written.
        at = transcript.conversation.opened_at if change.status_before is None else change.at
        yield at, -1_000_000 + index, [_change(change)]


def _change(change: Transition) -> str:
    changes = []
    if change.status_before != change.status_after:
        changes.append(f"{change.status_before} -> {change.status_after}" if change.status_before else "opened")
    if change.owner_before != change.owner_after and change.owner_before is not None:
        changes.append(f"answered by {change.owner_before} -> {change.owner_after}")
    words = harmless(f"{', '.join(changes) or 'changed'} ({change.who}: {change.reason})")
    return f"{local_time(change.at)}  {colored('dim', words)}"


def print_line(line: Line, conversation: Conversation, *, full: bool) -> None:
    """A message as it comes, on one line. Its text is what is followed: only the address is masked unless `full`."""
    message = line.message
    address = _shown_address(conversation, full)
    arrow = "<-" if message.direction == "in" else "->"
    who = "" if message.author in ("contact", "ai") else f" ({NAMES[message.author]})"
    head = f"{local_time(message.at)}  {conversation.id}  {arrow} {harmless(address)}{who}"
    print(f"{colored('dim', head)}  {harmless(message.description)}", flush=True)


def print_delivery(part: OutboxRow, *, now: int, full: bool) -> None:
    """A change of a delivery, on one line."""
    at = part.delivery_at or part.settled_at or part.attempted_at or now
    error = part.error if full or part.error is None else masked(part.error)
    detail = "".join(f", {word}" for word in (part.error_code and f"code {part.error_code}", error) if word)
    text = f"{local_time(at)}  {part.conversation_id}  #{part.message_id} {delivery_of(part)}{detail}"
    print(colored(_part_color(part), harmless(text)), flush=True)
