"""The doctor looks at a database on a PostgreSQL server: may it be used, what holds it up, and who works on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from time import monotonic
from typing import TYPE_CHECKING, Final

from convoq.cli.doctor import budgets, kept, notify, queue
from convoq.cli.doctor.database import dead_letters, held, processes, writing
from convoq.errors import ConvoqError
from convoq.monitoring.findings import Finding, fail, ok, warn
from convoq.text import age, size

if TYPE_CHECKING:
    from convoq.db.postgres.inspection import ServerState
    from convoq.db.store import Store
    from convoq.settings import Options

CLOCKS_APART_SECONDS: Final = 60.0
LONGEST_TRANSACTION_SECONDS: Final = 900.0  # a dump takes a while; what stays open for hours is forgotten
FIND_IT: Final = "end it: SELECT pg_terminate_backend({pid})"


async def examine(options: Options, seen: set[str]) -> AsyncIterator[Finding]:
    """Fills `seen` with the roles that run. What the server must be is asked as the database is opened."""
    from convoq.cli.session import open_jobs
    from convoq.db.postgres.inspection import inspect
    from convoq.db.postgres.store import PostgresDatabase

    started = monotonic()
    try:
        async with open_jobs(options) as (database, jobs):
            footprint = await database.footprint()
            yield ok("database", f"{database.location}: {size(footprint.bytes)}")
            yield ok("schema", f"{database.found_schema}")
            await database.write(lambda _: None)
            yield writing(database.location, monotonic() - started, "SELECT * FROM pg_stat_activity")
            if isinstance(database, PostgresDatabase):
                state = await inspect(database.server)
                yield ok("server", f"PostgreSQL {state.version}, durable")
                yield _transactions(state)
            yield _clocks(database)
            async for finding in processes(database, seen):
                yield finding
            for finding in await queue.examine(options):
                yield finding
            yield await dead_letters(jobs)
            for finding in [
                *await budgets.reached(database, options), *await held(database), *await kept.unfinished(database),
                *await notify.failing(database),
            ]:  # fmt: skip
                yield finding
    except ConvoqError as error:
        yield fail("opening", str(error))


def _transactions(state: ServerState) -> Finding:
    oldest = state.oldest
    if oldest is None or oldest.seconds < LONGEST_TRANSACTION_SECONDS:
        return ok("transactions", f"the oldest is open for {age(oldest.seconds if oldest else 0)}")
    detail = (
        f"process {oldest.pid} ({oldest.who}) has one open for {age(oldest.seconds)}: the queue slows down meanwhile"
    )
    return warn("transactions", detail, FIND_IT.format(pid=oldest.pid))


def _clocks(database: Store) -> Finding:
    from convoq.clock import WallClock

    ahead = (WallClock().now() - database.clock.now()) / 1000
    if abs(ahead) > CLOCKS_APART_SECONDS:
        detail = f"this machine's clock is {age(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} the server's"
        return warn("clocks", detail, "let both keep their time by NTP")
    return ok("clocks", f"this machine's and the server's are {abs(ahead):.1f} s apart")
