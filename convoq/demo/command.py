"""`convoq demo`: the three real processes, a Twilio of our own, and one scene in which much goes wrong."""

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
from convoq.demo.script import Scene
from convoq.demo.site import Stage
from convoq.demo.transcript import Console
from convoq.errors import ConvoqError

LONGEST: Final = 60.0  # seconds until the demo as a whole gives up
INTERRUPTED: Final = 130


def run(*, verbose: bool = False) -> int:
    """Plays the scene and checks the books. Returns 0 if every promise was kept, 1 if not, 130 after Ctrl-C.

    What the processes said stays in a directory that is named when something went wrong; `verbose` prints it all.
    """
    directory = Path(tempfile.mkdtemp(prefix="convoq-demo-"))
    console = Console(sys.stdout)
    try:
        code = asyncio.run(_interruptible(directory, console))
    except KeyboardInterrupt:
        code = INTERRUPTED
    if verbose:
        _print_logs(directory, console)
    if code == 1:
        console.line(f"The logs of the three processes and the database are in {directory}")
    else:
        shutil.rmtree(directory, ignore_errors=True)
    return code


async def _interruptible(directory: Path, console: Console) -> int:
    """SIGTERM and a closed terminal end it as Ctrl-C does: in order."""
    task = asyncio.ensure_future(_play(directory, console))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        console.line("\nInterrupted.")
        return INTERRUPTED


async def _play(directory: Path, console: Console) -> int:
    began = monotonic()
    console.line(console.style("convoq demo", "bold") + " · no account, no key, no number, no tunnel")
    console.line(console.style("Three real processes; this one plays Twilio and the people.", "dim"))
    try:
        async with asyncio.timeout(LONGEST), AsyncExitStack() as stack:
            stage = await stack.enter_async_context(Stage(directory, os.environ))
            promises = await Scene(stage, console).play()
    except ConvoqError as error:
        console.line(f"\n{console.style('✗', 'red')} {error}")
        return 1
    except TimeoutError:
        console.line(f"\n{console.style('✗', 'red')} the scene did not end within {LONGEST:g} s")
        return 1
    _print_table(promises, console)
    broken = [promise for promise in promises if not promise.kept]
    if broken:
        console.line(console.style(f"Not kept: {', '.join(promise.what for promise in broken)}.", "red"))
        return 1
    console.line(
        f"All of it held, in {monotonic() - began:.1f} s. Try it yourself: {console.style('convoq dev', 'bold')}"
    )
    return 0


def _print_table(promises: list[Promise], console: Console) -> None:
    width = max(len(promise.what) for promise in promises)
    console.line()
    console.line(console.style(f"    {'promised':<{width}}   happened", "dim"))
    for promise in promises:
        mark = console.style("✓", "green") if promise.kept else console.style("✗", "red", "bold")
        happened = promise.happened if promise.kept else console.style(promise.happened, "red")
        console.line(f"  {mark} {promise.what:<{width}}   {happened}")
    console.line()


def _print_logs(directory: Path, console: Console) -> None:
    for log in sorted(directory.glob("*.log")):
        console.line(console.style(f"\n{log.stem}:", "bold"))
        for line in log.read_text("utf-8", "replace").splitlines():
            console.line(console.style(line))
