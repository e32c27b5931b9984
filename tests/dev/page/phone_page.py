"""A real `convoq dev` process, for tests to look at."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from convoq.loopback.process import RoleProcess, convoq
from convoq.loopback.waiting import until

ADDRESS = re.compile(r"^convoq dev: phones at (http://127\.0\.0\.1:\S+)$", re.MULTILINE)


class DevProcess(RoleProcess):
    url = ""  #: of its page

    async def ended(self) -> int:
        """Its exit code after SIGTERM, which it must obey within 15 seconds."""
        self.terminate()
        async with asyncio.timeout(15):
            return await self.wait()


@asynccontextmanager
async def dev_process(directory: Path, *arguments: str, port: int = 0, **environ: str) -> AsyncIterator[DevProcess]:
    """Inside, its page answers. All of its files are below `directory`; `arguments` go to the command line."""
    process = DevProcess(
        "dev", {**os.environ, "TMPDIR": str(directory), "CONVOQ_CONVERSATION__QUIET_WINDOW": "0.4", **environ},
        command=convoq("dev", "--port", str(port), *arguments), directory=directory, log=directory / "dev.log",
    )  # fmt: skip
    try:
        await process.start()
        await until(lambda: ADDRESS.search(process.output) is not None, timeout=30)
        [process.url] = ADDRESS.findall(process.output)
        yield process
    finally:
        process.terminate()
        await process.wait()


def databases(directory: Path) -> list[Path]:
    """The temporary directories of a run whose files are below `directory`, each with its database."""
    return list(directory.glob("convoq-dev-*"))
