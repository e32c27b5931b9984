"""The state of the whole at one moment, and what in it calls for a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from convoq.clock import DAY_MS
from convoq.jobs import ReceiveMessage
from convoq.monitoring.roles import ROLES, RoleHealth, RoleState, judge_role
from convoq.queue.base import KindStats
from convoq.text import age, counted, local_time, mask_address, size

if TYPE_CHECKING:
    from convoq.conversations.ceilings import BudgetRules
    from convoq.conversations.costs import ReachedBudget
    from convoq.conversations.holding import Hold
    from convoq.conversations.notifications import TargetState
    from convoq.conversations.overview import Overview
    from convoq.db.log_readers import LogState
    from convoq.db.store import Store
    from convoq.monitoring.pauses import Pause
    from convoq.monitoring.processes import ProcessRecord
    from convoq.queue.base import JobAdmin, Stats

HOUR_MS: Final = 3_600_000  # a model that refuses us is asked again far more often while people wait
GONE: Final = "gone: it was killed or crashed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The queue, the conversations, the processes and the file. Times are ms on the queue's clock."""

    now: int
    location: str  #: of the database
    database_bytes: int
    log: LogState | None  #: of a SQLite file
    accepts: bool  #: whether the disk has room for more
    stats: Stats
    overview: Overview
    processes: Sequence[ProcessRecord]
    pauses: Sequence[Pause] = ()  #: entries of the schedule that are paused
    budgets: Sequence[ReachedBudget] = ()  #: ceilings that hold something back
    holds: Sequence[Hold] = ()  #: what rules hold back
    kept: str = ""  #: what is kept how long
    targets: Sequence[TargetState] = ()  #: who is told when something calls for a person
    erasing: int = 0  #: addresses whose erasure has not come to its end

    @property
    def dead(self) -> int:
        return sum(kind.dead for kind in self.stats.kinds.values())

    @property
    def oldest_wait(self) -> float:
        """Seconds that the oldest job that is due has waited."""
        return max((kind.oldest_wait for kind in self.stats.kinds.values()), default=0.0)

    @property
    def waiting(self) -> int:
        """Messages of people that have no answer yet, those included that are only a job so far."""
        return self.overview.waiting + self._unrecorded.unstarted

    @property
    def waiting_since(self) -> int | None:
        """When the oldest of them was accepted."""
        moments = (self.overview.waiting_since, self._unrecorded.unstarted_since)
        return min((moment for moment in moments if moment is not None), default=None)

    @property
    def _unrecorded(self) -> KindStats:
        return self.stats.kinds.get(ReceiveMessage.kind, KindStats())

    @property
    def longest_waiting(self) -> float:
        """Seconds that the oldest unanswered message has waited, also while its job is deferred."""
        since = self.waiting_since
        return 0.0 if since is None else max(0, self.now - since) / 1000

    @property
    def reply_median(self) -> float:
        """Seconds. Raises statistics.StatisticsError without reply times."""
        from statistics import median

        return median(self.overview.reply_times)

    @property
    def reply_p95(self) -> float:
        """Seconds that 95 % of the replies took at most. Raises IndexError without reply times."""
        from statistics import quantiles

        times = self.overview.reply_times
        return quantiles(times, n=20, method="inclusive")[-1] if len(times) > 1 else times[0]


async def take(database: Store, jobs: JobAdmin, budgets: BudgetRules | None = None, kept: str = "") -> Snapshot:
    """`budgets` are those whose ceilings are looked at; `kept` is what the settings say of how long."""
    from convoq.clock import WallClock
    from convoq.conversations.costs import read_reached
    from convoq.conversations.erasures import Erasures
    from convoq.conversations.holding import find_holds
    from convoq.conversations.notifications import Notifications
    from convoq.conversations.queries import Reading
    from convoq.monitoring.pauses import read_pauses
    from convoq.monitoring.processes import Processes

    now, footprint = database.clock.now(), await database.footprint()
    return Snapshot(
        now=now,
        location=database.location,
        database_bytes=footprint.bytes,
        log=footprint.log,
        accepts=database.accepts(),
        stats=await jobs.stats(),
        overview=await Reading(database).overview(since=now - DAY_MS, refused_since=now - HOUR_MS),
        processes=await Processes(database).seen(),
        pauses=await read_pauses(database),
        budgets=await read_reached(database, budgets, WallClock().now()) if budgets else (),
        holds=await database.read(find_holds, now, now - DAY_MS),
        kept=kept,
        targets=await Notifications(database, WallClock()).targets(),
        erasing=len(await Erasures(database).cut_off()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertLimits:
    """From where on a state calls for a person."""

    roles: Sequence[str] = ROLES  #: those that must have been seen
    max_wait: float = 60.0  #: seconds that a job or a message may wait
    max_dead: int = 0  #: jobs that may be dead


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Something that calls for a person."""

    detail: str
    role: str | None = None  #: where one role is meant
    remedy: str | None = None  #: what to do, or which command tells more

    def __str__(self) -> str:
        return ": ".join(part for part in (self.role, self.detail, self.remedy) if part)


def find_alerts(snapshot: Snapshot, limits: AlertLimits) -> Iterator[Alert]:
    from convoq.channels.twilio.errors import PERSONAL, hint
    from convoq.conversations.holding import LOOP
    from convoq.db.log_readers import END_READER, HELD_BY

    for role in limits.roles:
        yield from _role_alerts(judge_role(role, snapshot.processes, now=snapshot.now))
    for refusal in snapshot.overview.refusals:
        yield Alert(detail=f"model {refusal.model} refuses whatever it is asked", remedy=refusal.error)
    for code, parts in snapshot.overview.undelivered_by_code:
        if code not in PERSONAL:  # such a code says nothing of the channel
            detail = f"{counted(parts, 'message')} not delivered in the last 24 hours (code {code})"
            yield Alert(detail=detail, remedy=f"{hint(code)} Then: convoq conversations list --failed")
    for hold in snapshot.holds:
        if hold.rule == LOOP:
            remedy = f"look at it, then leave it so, or: convoq conversations resume {hold.conversation_id}"
            yield Alert(detail=f"a machine seems to write to us: {hold.detail}", remedy=remedy)
    if snapshot.oldest_wait > limits.max_wait:
        yield Alert(detail=f"a job has waited for {age(snapshot.oldest_wait)} (more than {age(limits.max_wait)})")
    elif snapshot.longest_waiting > limits.max_wait:
        detail = f"somebody has waited for an answer for {age(snapshot.longest_waiting)}"
        yield Alert(detail=detail, remedy="convoq conversations list --waiting")
    if snapshot.dead > limits.max_dead:
        yield Alert(detail=counted(snapshot.dead, "dead letter"), remedy="convoq jobs list --state dead")
    if snapshot.erasing:
        detail = f"{counted(snapshot.erasing, 'address', 'addresses')} may not be erased wholly"
        yield Alert(detail=detail, remedy="run convoq contacts erase again, with the same number")
    yield from _budget_alerts(snapshot.budgets)
    for target in snapshot.targets:
        if said := describe_target(target):
            yield Alert(detail=said, remedy="convoq notify test")
    if snapshot.log is not None and snapshot.log.readers:
        detail = f"the database's log has grown to {size(snapshot.log.bytes)}: {HELD_BY} {snapshot.log.holders}"
        yield Alert(detail=detail, remedy=END_READER)
    if not snapshot.accepts:
        yield Alert(detail="the disk is nearly full: webhooks are answered 503 until there is room")


def _budget_alerts(budgets: Sequence[ReachedBudget]) -> Iterator[Alert]:
    people = [budget for budget in budgets if budget.scope == "contact"]
    if people:
        yield Alert(detail=f"{counted(len(people), 'contact')} reached it: {describe_budget(people[0])}")
    for budget in budgets:
        if budget.scope != "contact":
            remedy = "convoq costs --by number; to raise it: [budgets] of convoq.toml"
            yield Alert(detail=describe_budget(budget), remedy=remedy)


def describe_target(target: TargetState) -> str | None:
    """What is wrong with it."""
    if target.gone_at is not None:
        return f"{target.name} is told nothing since {local_time(target.gone_at)}: {target.error}"
    if target.failing_at is None:
        return None
    waits = counted(target.waiting, "notification")
    return f"{target.name} has taken nothing since {local_time(target.failing_at)}, {waits} to be told: {target.error}"


def describe_budget(budget: ReachedBudget) -> str:
    """What is used up, and until when."""
    whose = "a person" if budget.scope == "contact" else mask_address(budget.whose)
    when = "in a day" if budget.period == "day" else "in a month"
    return f"what {whose} may cost {when} is used up until {local_time(budget.until)}"


def _role_alerts(health: RoleHealth) -> Iterator[Alert]:
    match health.state:
        case RoleState.UNSEEN:
            yield Alert(role=health.role, detail="no process has been seen", remedy=f"start convoq {health.role}")
        case RoleState.GONE:
            yield Alert(role=health.role, detail=GONE, remedy="look at its log, and start it again")
        case RoleState.SILENT:
            detail = f"silent for {age(health.silence)}"
            yield Alert(role=health.role, detail=detail, remedy="look at its log, or start it again")
