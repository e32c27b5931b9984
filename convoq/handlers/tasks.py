"""A job's own code, in all its tasks: what ends a process from inside is that job's failure, and no other's."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from contextvars import ContextVar
from typing import Any, Self

from convoq.logs import log


class JobScope:
    """One claim while its handler runs: what the log calls it, and what its tasks tried to end the process with."""

    def __init__(self, kind: str, job_id: str) -> None:
        self.kind = kind
        self.job_id = job_id
        self.failure: Exception | None = None  #: the first
        self._ended = False

    def __enter__(self) -> Self:
        """Tasks that this context makes from here on are the job's."""
        self._token = _scope.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        """The handler has ended: what its tasks do from here on can only be logged."""
        _scope.reset(self._token)
        self._ended = True

    def fail(self, error: BaseException) -> Exception:
        """What the job has failed with, instead of what was to end the process."""
        failure = RuntimeError(f"the handler {_deed(error)}")
        failure.__cause__ = error
        self.failure = self.failure or failure
        if self._ended:
            log.error("job.task_failed", kind=self.kind, job_id=self.job_id, error=str(failure))
        return failure


_scope: ContextVar[JobScope | None] = ContextVar("convoq_job_scope", default=None)


class JobCoroutine(Coroutine[Any, Any, Any]):
    """A job's coroutine, out of which only an Exception or a cancellation comes.

    asyncio lets SystemExit and KeyboardInterrupt of any task end the loop, and with it every other job.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any], scope: JobScope) -> None:
        self.scope = scope
        self._coroutine = coroutine

    def send(self, value: Any) -> Any:
        try:
            return self._coroutine.send(value)
        except (Exception, asyncio.CancelledError):
            raise
        except BaseException as error:  # noqa: BLE001 # another exception is raised in its place
            raise self.scope.fail(error)  # noqa: B904 # its cause is set

    def throw(self, *thrown: Any) -> Any:
        if isinstance(thrown[0], GeneratorExit):
            # Awaited, from a future. Thrown as it is, it would close every coroutine of the chain instead.
            thrown = (self.scope.fail(thrown[0]),)
        try:
            return self._coroutine.throw(*thrown)
        except (Exception, asyncio.CancelledError):
            raise
        except BaseException as error:  # noqa: BLE001 # another exception is raised in its place
            raise self.scope.fail(error)  # noqa: B904 # its cause is set

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self  # it has all that `await` calls

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def __getattr__(self, name: str) -> Any:
        # cr_frame, cr_code, __name__: what asyncio and debuggers show of a task.
        return getattr(self._coroutine, name)


def make_task(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any] | Generator[Any, Any, Any], **options: Any
) -> asyncio.Task[Any]:
    """The worker's task factory: tasks that a job makes are the job's."""
    scope = _scope.get()
    if scope is not None and isinstance(coroutine, Coroutine):
        coroutine = JobCoroutine(coroutine, scope)
    return asyncio.Task(coroutine, loop=loop, **options)


def _deed(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return "called sys.exit()" if error.code is None else f"called sys.exit({error.code!r})"
    return f"raised {type(error).__name__}: {error}" if str(error) else f"raised {type(error).__name__}"


async def ended(task: asyncio.Future[Any]) -> None:
    """Returns when it has: whatever came out of it is not wanted any more."""
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()


async def first_to_end(*awaitables: object) -> None:
    """Returns when the first of them has ended, or raises what it raised; the others are cancelled."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]  # type: ignore[call-overload]  # asyncio takes any awaitable; its stub wants their type
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
