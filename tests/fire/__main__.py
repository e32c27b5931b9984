"""The proof under fire: `python -m tests.fire --minutes 30 [--engine postgres] [--seed N] [--report FILE]
[--only kills,locks]`.

The closing run, which counts: `python -m tests.fire --kills 500 --cuts 100 --harms`.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import tempfile
from pathlib import Path

from tests.fire.campaign import ABLE, SCENARIOS, Campaign, Ticker
from tests.fire.engines import ENGINES
from tests.fire.report import render


def main() -> int:
    """0 when the books balance, 1 when they do not, 130 when it was interrupted."""
    args = _arguments()
    # Under nohup it is ignored, and so it would be in every role; a handler of ours is not handed down.
    signal.signal(signal.SIGHUP, lambda *_: None)
    directory = Path(tempfile.mkdtemp(prefix="convoq-fire-"))
    campaign = Campaign(seed=args.seed, directory=directory, say=Ticker(), engine=args.engine)
    sys.stderr.write(f"seed {args.seed}, files in {directory}\n")
    interrupted = False
    try:
        if args.kills or args.cuts or args.harms:
            asyncio.run(campaign.close(kills=args.kills, cuts=args.cuts, harms=args.harms))
        else:
            asyncio.run(campaign.run(args.minutes * 60, args.only & ABLE[args.engine]))
    except KeyboardInterrupt:
        interrupted = True
    report = render(campaign.sections.values(), campaign.head())
    sys.stdout.write(f"\n{report}")
    if args.report is not None:
        args.report.write_text(report)
    if any(section.problems for section in campaign.sections.values()):
        return 1
    return 130 if interrupted else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fire", description="Runs convoq under fire and audits it.")
    parser.add_argument("--minutes", type=float, default=30.0, help="how long (default: %(default)g)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="repeats a run")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the report there, too")
    parser.add_argument("--engine", choices=ENGINES, default="sqlite", help="where queue and conversations are")
    parser.add_argument(
        "--only", type=_scenarios, default=frozenset(SCENARIOS), metavar="NAME,...", help=", ".join(SCENARIOS)
    )
    closing = parser.add_argument_group("the closing run", "counts instead of minutes, each in its turn")
    closing.add_argument("--kills", type=int, default=0, metavar="N", help="so many SIGKILLs of roles")
    closing.add_argument("--cuts", type=int, default=0, metavar="N", help="so many power cuts, as root")
    closing.add_argument("--harms", action="store_true", help="each harm to files, logs, signals, clocks and clients")
    return parser.parse_args()


def _scenarios(text: str) -> frozenset[str]:
    names = frozenset(text.split(","))
    if unknown := names - SCENARIOS.keys():
        raise argparse.ArgumentTypeError(f"no such scenario: {', '.join(sorted(unknown))}")
    return names


if __name__ == "__main__":
    sys.exit(main())
