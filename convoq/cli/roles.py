"""`convoq serve`, `schedule`, `work` and `console`, and what runs the first three at once: `dev` and `demo`."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convoq.daemon.process import Role


def add_parser(subparsers: Any) -> None:
    serve = subparsers.add_parser(
        "serve",
        help="the webhook API: takes messages in",
        description="Takes Twilio's webhooks in: verifies, enqueues, answers. Ctrl-C or SIGTERM ends it in order.",
        epilog="example:\n  convoq serve --host 127.0.0.1 --port 8080",
    )
    serve.add_argument("--host", help="the address to listen on (server.host)")
    serve.add_argument("--port", type=_port, help="the port to listen on; 0 takes a free one (server.port)")
    serve.set_defaults(run=run_role, role="serve")

    schedule = subparsers.add_parser(
        "schedule",
        help="the scheduler: turns time into jobs",
        description="Enqueues what is due by the clock: upkeep, and your own [[schedules]].",
        epilog="example:\n  convoq schedule --config /etc/convoq/convoq.toml",
    )
    schedule.set_defaults(run=run_role, role="schedule")

    work = subparsers.add_parser(
        "work",
        help="the worker: answers",
        description="Claims jobs and handles them: asks the model, sends the replies. The first SIGTERM lets running\n"
        "jobs finish, the second hands them back at once.",
        epilog="example:\n  convoq work --concurrency 16",
    )
    work.add_argument("--concurrency", type=int, metavar="N", help="conversations at a time (work.concurrency)")
    work.add_argument("--drain", action="store_true", help="end when nothing is due any more")
    work.add_argument(
        "--allow-offline", action="store_true", help='let the demo rules of model "offline" answer real people'
    )
    work.set_defaults(run=run_role, role="work")

    console = subparsers.add_parser(
        "console",
        help="the REST API for your own people and programs",
        description="Lets people and programs of yours look at conversations and jobs and act on them, over a REST\n"
        "API with tokens (convoq operators token): docs/api.md. It listens on this machine alone unless told\n"
        "otherwise.",
        epilog="example:\n  convoq console --port 8081",
    )
    console.add_argument("--host", help="the address to listen on (console.host)")
    console.add_argument("--port", type=_port, help="the port to listen on; 0 takes a free one (console.port)")
    console.set_defaults(run=run_role, role="console")
    _add_trials(subparsers)


def _add_trials(subparsers: Any) -> None:
    dev = subparsers.add_parser(
        "dev",
        help="all three in one, with phones to write from in the browser",
        description="Runs serve, schedule and work together with a Twilio of its own and a page with phones:\n"
        "no account, no number, no key. Without a model fixed rules answer; one that is set is asked for real.",
        epilog="example:\n  convoq dev --open",
    )
    dev.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    dev.add_argument("--port", type=_port, default=8025, help="the port of the page (default: %(default)s)")
    place = dev.add_mutually_exclusive_group()
    place.add_argument(
        "--database", type=Path, metavar="PATH", help="keep the database there (default: a temporary one)"
    )
    _add_servers(dev, place)
    dev.add_argument("--open", action="store_true", help="open the page in your browser")
    dev.set_defaults(run=run_dev)

    demo = subparsers.add_parser(
        "demo",
        help="play conversations through the real path and check the result",
        description="Sends signed webhooks through the real path, prints the conversations, and checks that each\n"
        "message was answered once and in order. Needs no account and no network.",
        epilog="example:\n  convoq demo",
    )
    _add_servers(demo, demo)
    demo.add_argument("-v", "--verbose", action="store_true", help="show the logs of the processes too")
    demo.set_defaults(run=run_demo)


def _add_servers(parser: argparse.ArgumentParser, place: argparse._ActionsContainer) -> None:
    """Whatever stands on these servers is left alone: see convoq.loopback.storage."""
    place.add_argument(
        "--database-url", metavar="URL", help="play on this PostgreSQL database, in a schema that is dropped at the end"
    )
    parser.add_argument(
        "--redis-url", metavar="URL", help="keep the queue on this Redis, below a prefix that is removed at the end"
    )


def _port(text: str) -> int:
    port = int(text) if text.isascii() and text.isdigit() else math.inf
    if port > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (0 to 65535)")
    return int(port)


def run_role(args: argparse.Namespace) -> int:
    """Runs one of the roles until it is told to stop."""
    from convoq.daemon.startup import starting

    with starting(args.role):
        from convoq.daemon import process

        listener = "console" if args.role == "console" else "server"
        overrides = {
            "work.concurrency": getattr(args, "concurrency", None),
            f"{listener}.host": getattr(args, "host", None),
            f"{listener}.port": getattr(args, "port", None),
        }
        allowed = getattr(args, "allow_offline", False)
        return process.run_role(args.role, _role(args), args.config, overrides=overrides, allow_offline=allowed)


def _role(args: argparse.Namespace) -> Role:
    """Only the role that was asked for is imported."""
    if args.role == "serve":
        from convoq.daemon.serve import serve

        return serve
    if args.role == "schedule":
        from convoq.daemon.schedule import schedule

        return schedule
    if args.role == "console":
        from convoq.daemon.console import console

        return console
    from convoq.daemon.work import work

    return work(drain=args.drain)


def run_dev(args: argparse.Namespace) -> int:
    from convoq.dev.command import DevArguments, run

    run(
        DevArguments(
            config=args.config,
            host=args.host,
            port=args.port,
            database=args.database,
            database_url=args.database_url,
            redis_url=args.redis_url,
            show=args.open,
        )
    )
    return 0


def run_demo(args: argparse.Namespace) -> int:
    from convoq.demo.command import run

    return run(database_url=args.database_url, redis_url=args.redis_url, verbose=args.verbose)
