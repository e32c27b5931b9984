"""`convoq contacts erase`: a person's number and texts are taken out of everything that convoq keeps."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import TYPE_CHECKING, Any

from convoq.cli.acting import Ways, add_identity, run_act
from convoq.cli.arguments import shortened
from convoq.cli.terminal.output import confirm, say
from convoq.errors import ConvoqError, DatabaseUnavailable
from convoq.text import counted

if TYPE_CHECKING:
    from convoq.handlers.erasing import Erased, Traces


def add_parser(commands: Any) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "erase",
        help="forget this person",
        description="Erases a person: number, name and texts are taken out of conversations, jobs (waiting, done and\n"
        "dead ones, your own too) and the files that they were in. Counts, times and costs stay, without\n"
        "anything that says whose they were. A STOP and a block hold on, by a keyed hash of the number.\n"
        "The files are written anew, for which all else waits: do it at a quiet hour. Backups, the log and\n"
        "what Twilio and your model's provider keep are not reached: docs/privacy.md.",
        epilog="example:\n  convoq contacts erase '+1 555 123-0001'",
    )
    parser.add_argument("number", type=number, metavar="NUMBER", help="with its country code, however it is spelled")
    parser.add_argument("--yes", "-y", action="store_true", help="don't ask")
    parser.add_argument("--dry-run", action="store_true", help="only say what there is")
    add_identity(parser)
    parser.set_defaults(run=erase)


def number(text: str) -> tuple[str, ...]:
    """The addresses that the person has."""
    from convoq.phone import addresses_of

    try:
        return addresses_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{shortened(text)} {error}") from None


def erase(args: argparse.Namespace) -> int:
    from convoq.channels.twilio.inbound import CHANNEL
    from convoq.conversations.erasing import Erasing
    from convoq.conversations.text_index import TextIndex
    from convoq.handlers.erasing import Erased, Erasure
    from convoq.monitoring.act_documents import erased_document

    left: list[str] = []

    async def act(ways: Ways) -> Erased:
        database = ways.database
        erasure = Erasure(
            Erasing(database), TextIndex(database), ways.jobs, database.clock, database.scrub, channel=CHANNEL
        )
        traces = await erasure.look(args.number)
        if not traces:
            raise ConvoqError(f"nothing is known of {args.number[-1]}")
        if args.dry_run:
            return Erased(traces, 0, ())
        say(f"{args.number[-1]}: {_found(traces)}")
        if not confirm("Erase all of it? It can't be taken back.", yes=args.yes):
            raise ConvoqError("nothing was erased")
        erased = await erasure.erase(args.number, ways.acts.erase)
        left.extend(erased.left)
        return erased

    def tell(erased: Erased) -> None:
        if args.dry_run:
            print(f"{args.number[-1]}: {_found(erased.traces)} would be erased")
        else:
            _tell(erased)

    code = run_act(args, act, lambda erased: erased_document(erased, dry_run=args.dry_run), tell)
    if left:
        raise DatabaseUnavailable(f"files still hold what was erased: {'; '.join(left)}. Then run it again")
    return code


def _found(traces: Traces) -> str:
    person = traces.person
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(Counter(job.kind for job in traces.jobs).items()))
    jobs = counted(len(traces.jobs), "job") + (f" ({kinds})" if kinds else "")
    return f"{counted(person.conversations, 'conversation')}, {counted(person.messages, 'message')}, {jobs}"


def _tell(erased: Erased) -> None:
    print(f"Erased: {_found(erased.traces)}.")
    if under_way := erased.traces.person.under_way:
        print(f"{counted(under_way, 'message')} had been handed to Twilio just then, and may still arrive.")
