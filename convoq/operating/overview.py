"""The state of the whole, and what in it calls for a person: what `convoq status` shows and the API answers."""

from __future__ import annotations

from typing import NamedTuple

from convoq.conversations.ceilings import budget_rules
from convoq.db.store import Store
from convoq.monitoring.kept import describe_kept
from convoq.monitoring.snapshot import Alert, AlertLimits, Snapshot, find_alerts, take
from convoq.queue.base import JobAdmin
from convoq.settings import Options


class State(NamedTuple):
    snapshot: Snapshot
    alerts: list[Alert]


async def read_state(database: Store, jobs: JobAdmin, options: Options, limits: AlertLimits) -> State:
    snapshot = await take(database, jobs, budget_rules(options.budgets), describe_kept(options))
    return State(snapshot, list(find_alerts(snapshot, limits)))
