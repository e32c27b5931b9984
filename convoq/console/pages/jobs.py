"""Jobs: what came to no end, by cause, and one job with all that is known of it."""

from __future__ import annotations

import json
from typing import Any, Final

from aiohttp import web

from convoq.console.endpoints import MOST_DIGITS, Site
from convoq.console.errands import JobErrand
from convoq.console.pages import words
from convoq.console.pages.acting import require_acting
from convoq.console.pages.causes import Cause, read_causes
from convoq.console.pages.gate import FORM_FIELDS
from convoq.console.pages.rendering import page
from convoq.console.pages.visitors import VISITOR, Visitor
from convoq.conversations.audit_trail import record_act
from convoq.conversations.marks import read_marks
from convoq.conversations.operator_list import require_operator
from convoq.conversations.queries import Reading
from convoq.conversations.sessions import WAY, require_session
from convoq.db.transaction import Transaction
from convoq.queue.base import JobFilter, JobRecord, JobState, Standing
from convoq.text import counted

AT_ONCE: Final = 200  #: jobs that one press of a button retries
SHOWN: Final = 5  #: jobs of a cause, by number


async def show_jobs(site: Site, request: web.Request) -> web.Response:
    visitor, marks = request[VISITOR], await site.database.read(read_marks)
    causes, stats = await read_causes(site), await site.jobs.stats()
    kinds = [
        (kind, one.ready, one.running, one.scheduled, one.dead) for kind, one in sorted(stats.kinds.items())
    ]  # fmt: skip
    values = {
        "place": "jobs", "waits": 0, "marks": marks, "self_path": "/jobs", "kinds": kinds, "at_once": AT_ONCE,
        "causes": [_shown(cause, site.database.clock.now()) for cause in causes], "done": _done(request),
    }  # fmt: skip
    return page("jobs.html", visitor, values)


def _shown(cause: Cause, now: int) -> dict[str, Any]:
    ended = [job.finished_at for job in cause.jobs if job.finished_at is not None]
    since = f"{words.moment(min(ended), now)} to {words.moment(max(ended), now)}" if ended else ""
    return {
        "key": cause.key, "title": cause.title, "error": cause.error, "number": len(cause.jobs), "since": since,
        "useful": len(cause.useful), "useless": cause.useless, "ids": [job.id for job in cause.jobs[:SHOWN]],
    }  # fmt: skip


def _done(request: web.Request) -> str:
    given = [request.query.get(name, "") for name in ("retried", "left")]
    if not all(one.isascii() and one.isdigit() and len(one) < 7 for one in given):
        return ""
    retried, left = map(int, given)
    more = f" {counted(left, 'more of this cause is', 'more of this cause are')} left: press again." if left else ""
    return f"{counted(retried, 'job is', 'jobs are')} ready again.{more}"


async def retry_cause(site: Site, request: web.Request) -> web.Response:
    """At most AT_ONCE, each with its line in the audit trail; what was retried meanwhile is not retried again."""
    visitor, key = request[VISITOR], request[FORM_FIELDS].get("cause", "")
    require_acting(visitor)
    causes = [cause for cause in await read_causes(site) if cause.key == key]
    ids = [job_id for cause in causes for job_id in cause.useful]
    retried = 0
    for job_id in ids[:AT_ONCE]:
        retried += await _retry(site, visitor, job_id)
    left = max(0, len(ids) - AT_ONCE)
    return web.Response(status=303, headers={"Location": f"/jobs?retried={retried}&left={left}"})


async def retry_job(site: Site, request: web.Request) -> web.Response:
    visitor, record = request[VISITOR], await _find(site, request)
    require_acting(visitor)
    retried = await _retry(site, visitor, record.id)
    return web.Response(status=303, headers={"Location": f"/jobs/{record.id}?retried={retried}&left=0"})


async def _retry(site: Site, visitor: Visitor, job_id: str) -> int:
    """Raises ActRefused where the session, or the operator, is no more; then nothing was done."""
    now = site.database.clock.now()

    def begin(tx: Transaction) -> None:
        require_operator(tx, visitor.name)
        require_session(tx, visitor.session.id, now)

    def end(tx: Transaction) -> None:
        record_act(tx, now, visitor.name, "retry_job", subject=f"job:{job_id}", way=WAY)

    where = JobFilter(ids=(job_id,), states=(JobState.DEAD,))
    return await site.change_job(job_id, JobErrand(begin, end), lambda: site.jobs.retry_dead(where))


async def show_job(site: Site, request: web.Request) -> web.Response:
    visitor, record = request[VISITOR], await _find(site, request)
    useless = await Reading(site.database).useless_retries([(record.id, record.kind, record.payload)])
    values = {
        "place": "jobs", "waits": 0, "marks": await site.database.read(read_marks), "self_path": f"/jobs/{record.id}",
        "job": record, "facts": _facts(record, site.database.clock.now()), "done": _done(request),
        "payload": _readable(record.payload) if visitor.acts else "", "useless": useless.get(record.id, ""),
        "can_retry": record.standing is Standing.DEAD and record.id not in useless,
    }  # fmt: skip
    return page("job.html", visitor, values)


async def _find(site: Site, request: web.Request) -> JobRecord:
    """Raises LookupError."""
    job_id = request.match_info["id"]
    record = await site.jobs.get(job_id) if len(job_id) <= MOST_DIGITS else None
    if record is None:
        raise LookupError("there is no such job")
    return record


def _facts(job: JobRecord, now: int) -> list[tuple[str, str]]:
    moments = (("Enqueued", job.enqueued_at), ("Started", job.claimed_at), ("Ended", job.finished_at))
    return [
        ("State", str(job.standing)),
        ("Tries", f"{job.attempt} of {job.max_attempts}"),
        *((name, words.moment(at, now)) for name, at in moments if at is not None),
        *(
            (name, words.one_line(text))
            for name, text in (("Waits because", job.reason), ("Worker", job.worker))
            if text
        ),
    ]


def _readable(payload: str) -> str:
    try:
        return json.dumps(json.loads(payload), indent=2, ensure_ascii=False)
    except ValueError:
        return payload
