"""`convoq demo`: the three real processes, a Twilio of our own, and one script in which much goes wrong."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic
from typing import Final

from convoq.demo.promises import Promise
from convoq.demo.script import Script
from convoq.demo.site import Site
from convoq.demo.transcript import DemoOutput
from convoq.errors import ConvoqError
from convoq.loopback.storage import TrialServers

LONGEST_SECONDS: Final = 90.0  # until the demo as a whole gives up
INTERRUPTED: Final = 130


def run(*, database_url: str | None = None, redis_url: str | None = None, verbose: bool = False) -> int:
    """Plays the script on these servers and checks the promises. Returns 0 if every promise was kept, 1 if not, 130
    after Ctrl-C.

    What the processes said stays in a directory that is named when something went wrong; `verbose` prints it all.
    """
    directory = Path(tempfile.mkdtemp(prefix="convoq-demo-"))
    transcript = DemoOutput(sys.stdout)
    try:
        servers = TrialServers(database_url=database_url, redis_url=redis_url)
        code = asyncio.run(_interruptible(Site(directory, os.environ, servers), transcript))
    except KeyboardInterrupt:
        code = INTERRUPTED
    if verbose:
        _print_logs(directory, transcript)
    if code == 1 and any(directory.glob("*.log")):
        transcript.line(f"The logs of the three processes{_and_database(directory)} are in {directory}")
    else:
        shutil.rmtree(directory, ignore_errors=True)
    return code


def _and_database(directory: Path) -> str:
    return " and the database" if any(directory.glob("*.db")) else ""


async def _interruptible(site: Site, transcript: DemoOutput) -> int:
    """SIGTERM and a closed terminal end it as Ctrl-C does: in order."""
    task = asyncio.ensure_future(_play(site, transcript))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        transcript.line("\nInterrupted.")
        return INTERRUPTED


async def _play(site: Site, transcript: DemoOutput) -> int:
    began = monotonic()
    transcript.line(transcript.style("convoq demo", "bold") + " · no account, no key, no number, no tunnel")
    transcript.line(transcript.style("Three real processes; this one plays Twilio and the people.", "dim"))
    try:
        async with asyncio.timeout(LONGEST_SECONDS), AsyncExitStack() as stack:
            await stack.enter_async_context(site)
            promises = await Script(site, transcript).play()
    except ConvoqError as error:
        transcript.line(f"\n{transcript.style('✗', 'red')} {error}")
        return 1
    except TimeoutError:
        transcript.line(f"\n{transcript.style('✗', 'red')} the scene did not end within {LONGEST_SECONDS:g} s")
        return 1
    _print_table(promises, transcript)
    broken = [promise for promise in promises if not promise.kept]
    if broken:
        transcript.line(transcript.style(f"Not kept: {', '.join(promise.what for promise in broken)}.", "red"))
        return 1
    transcript.line(
        f"All of it held, in {monotonic() - began:.1f} s. Try it yourself: {transcript.style('convoq dev', 'bold')}"
    )
    return 0


def _print_table(promises: list[Promise], transcript: DemoOutput) -> None:
    width = max(len(promise.what) for promise in promises)
    transcript.line()
    transcript.line(transcript.style(f"    {'promised':<{width}}   happened", "dim"))
    for promise in promises:
        mark = transcript.style("✓", "green") if promise.kept else transcript.style("✗", "red", "bold")
        happened = promise.happened if promise.kept else transcript.style(promise.happened, "red")
        transcript.line(f"  {mark} {promise.what:<{width}}   {happened}")
    transcript.line()


def _print_logs(directory: Path, transcript: DemoOutput) -> None:
    for log in sorted(directory.glob("*.log")):
        transcript.line(transcript.style(f"\n{log.stem}:", "bold"))
        for line in log.read_text("utf-8", "replace").splitlines():
            transcript.line(transcript.style(line))
