"""`convoq operators link`, `sessions` and `sign-out`: how operators come to the console's pages in a browser."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from convoq.cli.acting import Ways, add_identity, run_act
from convoq.cli.arguments import positive
from convoq.cli.terminal.output import print_json, say
from convoq.cli.terminal.table import print_table
from convoq.text import harmless, local_time

if TYPE_CHECKING:
    from convoq.conversations.sessions import Session, SignInLink
    from convoq.settings import Options

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  # compared with what is configured; this file binds nothing
ROLES = ("viewer", "operator", "admin")


def add_parsers(commands: Any) -> None:
    linking = commands.add_parser(
        "link",
        help="make a link that signs an operator in at the console",
        description="Prints a link to the console's pages. It works once, for 15 minutes, and signs the browser in\n"
        "that follows it: until 12 hours pass without a look, and for 30 days at most. A viewer sees numbers\n"
        "masked and changes nothing, an operator answers people.",
        epilog="example:\n  convoq operators link Marta",
    )
    linking.add_argument("operator", metavar="NAME", help="as the list of operators has it")
    linking.add_argument("--role", choices=ROLES, default="operator", help="what it lets do (default: %(default)s)")
    add_identity(linking)
    linking.set_defaults(run=issue)
    listing = commands.add_parser(
        "sessions",
        help="who is signed in at the console, and where",
        description="Lists the sessions of browsers, the newest first, for 60 days also those that have ended. The\n"
        "time of the last look is to the minute.",
        epilog="example:\n  convoq operators sessions --json",
    )
    listing.add_argument("--json", action="store_true", help="for programs")
    listing.set_defaults(run=list_all)
    ending = commands.add_parser(
        "sign-out",
        help="end a session at the console",
        description="Ends a session: nothing more is done in it, not by a request that is under way either. Who\n"
        "removes an operator ends all of theirs.",
        epilog="example:\n  convoq operators sign-out 3",
    )
    ending.add_argument("id", type=positive, metavar="ID", help="as `convoq operators sessions` lists it")
    add_identity(ending)
    ending.set_defaults(run=end)


def issue(args: argparse.Namespace) -> int:
    from convoq.conversations.access import AccessRole
    from convoq.conversations.sessions import make_secret
    from convoq.text import iso_time

    secret = make_secret()
    address = ""

    async def act(ways: Ways) -> SignInLink:
        nonlocal address
        address = f"{console_url(ways.options)}/login?code={secret}"
        return await ways.acts.issue_link(secret, args.operator, AccessRole(args.role))

    def tell(link: SignInLink) -> None:
        print(address)
        say(f"Signs in {link.operator}, {link.role}: once, until {local_time(link.ends_at)}. Keep it like a password.")

    def document(link: SignInLink) -> dict[str, Any]:
        ends_at = iso_time(link.ends_at)
        return {"operator": link.operator, "role": str(link.role), "link": address, "ends_at": ends_at}

    return run_act(args, act, document, tell, listed=False)


def console_url(options: Options) -> str:
    """Where a browser finds the pages: at the first name of the proxy in front, or on this machine."""
    console = options.console
    if console.names:
        return f"https://{console.names[0]}"
    host = "localhost" if console.host in EVERYWHERE else console.host
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{console.port}"


def end(args: argparse.Namespace) -> int:
    from convoq.monitoring.act_documents import session_document

    async def act(ways: Ways) -> Session:
        return await ways.acts.end_session(args.id)

    def tell(session: Session) -> None:
        say(f"session {session.id} of {session.operator} has ended")

    return run_act(args, act, session_document, tell, listed=False)


def list_all(args: argparse.Namespace) -> int:
    from convoq.cli.session import load_settings, open_existing, run_async
    from convoq.conversations.sessions import Sessions
    from convoq.monitoring.act_documents import session_document

    async def main(options: Options) -> int:
        async with open_existing(options) as database:
            sessions, now = await Sessions(database).all(), database.clock.now()
        if args.json:
            print_json({"sessions": [session_document(one) for one in sessions]})
        elif not sessions:
            say("There are none: convoq operators link makes a link that signs in.")
        else:
            header = ("ID", "OPERATOR", "ROLE", "SINCE", "SEEN", "ENDED", "BROWSER")
            print_table(header, [_row(one, now) for one in sessions], right=("ID",))
        return 0

    return run_async(main(load_settings(args.config).options))


def _row(session: Session, now: int) -> tuple[str, ...]:
    if session.ended_at is not None:
        ended = f"{local_time(session.ended_at)} by {session.ended_by}"
    else:
        ended = "" if session.is_valid(now) else "by itself"
    since, seen = local_time(session.made_at), local_time(session.seen_at)
    return str(session.id), session.operator, session.role, since, seen, ended, harmless(session.agent)
