"""A real `convoq dev` process, for tests to look at."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

RUN = """
import sys
from convoq.dev.command import run
from convoq.errors import ConvoqError
try:
    run(None, port=0)
except ConvoqError as error:
    sys.exit(f"convoq: {error}")
"""


@dataclass(frozen=True, slots=True)
class DevProcess:
    process: asyncio.subprocess.Process
    url: str
    directory: Path

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(15):
            return await self.process.wait()

    def log(self) -> str:
        return (self.directory / "dev.log").read_text()


@asynccontextmanager
async def dev_process(directory: Path, **environ: str) -> AsyncIterator[DevProcess]:
    """Inside, its page answers. All of its files are below `directory`."""
    with (directory / "dev.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", RUN, cwd=directory, stdout=asyncio.subprocess.PIPE, stderr=log,
            env={**os.environ, "TMPDIR": str(directory), "CONVOQ_CONVERSATION__QUIET_WINDOW": "0.4", **environ},
        )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            line = (await process.stdout.readline()).decode()
        assert line.startswith("convoq dev: phones at http://127.0.0.1:"), (directory / "dev.log").read_text()
        yield DevProcess(process, line.split()[-1], directory)
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
