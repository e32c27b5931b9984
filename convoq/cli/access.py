"""`convoq operators token`, `tokens` and `revoke`: what programs come in with."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from convoq.cli.acting import Ways, add_identity, run_act
from convoq.cli.arguments import positive
from convoq.cli.terminal.output import print_json, say
from convoq.cli.terminal.table import print_table
from convoq.text import local_time

if TYPE_CHECKING:
    from convoq.conversations.access import AccessToken
    from convoq.settings import Options

ROLES = ("viewer", "operator", "admin")


def add_parsers(commands: Any) -> None:
    issuing = commands.add_parser(
        "token",
        help="make a token for a program that acts in an operator's name",
        description="Makes a token for the REST API (convoq console) and prints it: once, it is kept nowhere. A\n"
        "viewer sees numbers masked and changes nothing, an operator answers people, an admin also erases them\n"
        "and reads the audit trail.",
        epilog="example:\n  convoq operators token Marta --role operator",
    )
    issuing.add_argument("operator", metavar="NAME", help="as the list of operators has it")
    issuing.add_argument("--role", choices=ROLES, default="viewer", help="what it may (default: %(default)s)")
    add_identity(issuing)
    issuing.set_defaults(run=issue)
    listing = commands.add_parser(
        "tokens",
        help="all tokens, and when each was last used",
        description="Lists the tokens, the oldest first, also those that were revoked. The time of the last use is to\n"
        "the minute.",
        epilog="example:\n  convoq operators tokens --json",
    )
    listing.add_argument("--json", action="store_true", help="for programs")
    listing.set_defaults(run=list_all)
    revoking = commands.add_parser(
        "revoke",
        help="let a token in no more",
        description="Revokes a token: nothing more is done with it, not by a request that is under way either. Who\n"
        "removes an operator revokes all of theirs.",
        epilog="example:\n  convoq operators revoke 3",
    )
    revoking.add_argument("id", type=positive, metavar="ID", help="as `convoq operators tokens` lists it")
    add_identity(revoking)
    revoking.set_defaults(run=revoke)


def issue(args: argparse.Namespace) -> int:
    from convoq.conversations.access import AccessRole, make_token
    from convoq.monitoring.act_documents import token_document

    made = make_token()

    async def act(ways: Ways) -> AccessToken:
        return await ways.acts.issue_token(made, args.operator, AccessRole(args.role))

    def tell(issued: AccessToken) -> None:
        print(made)
        say(f"Token {issued.id} of {issued.operator}, {issued.role}. It is shown only now: keep it like a password.")

    return run_act(args, act, lambda issued: {**token_document(issued), "token": made}, tell, listed=False)


def revoke(args: argparse.Namespace) -> int:
    from convoq.monitoring.act_documents import token_document

    async def act(ways: Ways) -> AccessToken:
        return await ways.acts.revoke_token(args.id)

    def tell(revoked: AccessToken) -> None:
        say(f"token {revoked.id} of {revoked.operator} is revoked")

    return run_act(args, act, token_document, tell, listed=False)


def list_all(args: argparse.Namespace) -> int:
    from convoq.cli.session import load_settings, open_existing, run_async
    from convoq.conversations.access import AccessTokens
    from convoq.monitoring.act_documents import token_document

    async def main(options: Options) -> int:
        async with open_existing(options) as database:
            tokens = await AccessTokens(database).all()
        if args.json:
            print_json({"tokens": [token_document(one) for one in tokens]})
        elif not tokens:
            say("There are none: convoq operators token makes one.")
        else:
            header = ("ID", "OPERATOR", "ROLE", "MADE", "BY", "USED", "REVOKED")
            print_table(header, [_row(one) for one in tokens], right=("ID",))
        return 0

    return run_async(main(load_settings(args.config).options))


def _row(token: AccessToken) -> tuple[str, ...]:
    revoked = "" if token.revoked_at is None else f"{local_time(token.revoked_at)} by {token.revoked_by}"
    used = "never" if token.used_at is None else local_time(token.used_at)
    return str(token.id), token.operator, token.role, local_time(token.made_at), token.made_by, used, revoked
