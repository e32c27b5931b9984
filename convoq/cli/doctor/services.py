"""The doctor looks outside: the way from Twilio to here, the Twilio account, the model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from convoq.cli.doctor import twilio, web
from convoq.cli.doctor.guard import guarded
from convoq.cli.doctor.model import check_model
from convoq.monitoring.findings import Finding, note
from convoq.settings.problems import dotted

if TYPE_CHECKING:
    from convoq.settings import Options, TwilioSettings
    from convoq.settings.load import Loaded
    from convoq.settings.problems import Missing

Asked = asyncio.Task[list[Finding]]


@asynccontextmanager
async def asking(loaded: Loaded, *, offline: bool) -> AsyncIterator[Sequence[Asked]]:
    """Asks what the settings allow to ask, side by side, while other checks are made.

    All is found within 8 seconds, also where a peer does not answer. What is still open at the end is given up.
    """
    options = loaded.options
    checks = [
        _alone("port", web.check_port(options.server.host, options.server.port)),
        _alone("proxy", web.check_proxy(options)),
    ]
    if not offline:
        checks += [_public_url(options), _signature(options), _twilio(options), _alone("model", check_model(loaded))]
    asked = [asyncio.create_task(check) for check in checks]
    try:
        yield asked
    finally:
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)


async def found(
    asked: Sequence[Asked], secrets: Sequence[Missing] = (), *, offline: bool, as_unit: str | None = None
) -> AsyncIterator[Finding]:
    """What came of it, always in the same order, and why each other check was not made.

    `secrets` are those that roles miss here; `as_unit` is the command that runs the doctor with them.
    """
    for task in asked:
        for finding in await task:
            yield finding
    if offline:
        yield note("services", "public URL, Twilio and model were not asked (--offline)")
    if secrets:
        names = ", ".join(dict.fromkeys(dotted(secret.setting) for secret in secrets))
        yield note("secrets", f"this command was not given {names}: what it would show was not asked", as_unit)


async def _alone(name: str, check: Awaitable[Finding]) -> list[Finding]:
    return [await guarded(name, check)]


async def _public_url(options: Options) -> list[Finding]:
    if missing := _unset({"server.public_url": options.server.public_url}):
        return [_not_asked("public URL", missing)]
    return await _alone("public URL", web.check_public_url(options.server.public_url or ""))


async def _signature(options: Options) -> list[Finding]:
    wanted = {
        "server.public_url": options.server.public_url,
        "twilio.account_sid": options.twilio.account_sid,
        "twilio.auth_token": options.twilio.auth_token,
    }
    if missing := _unset(wanted):
        return [_not_asked("signature", missing)]
    return await _alone("signature", web.check_signature(options))


async def _twilio(options: Options) -> list[Finding]:
    if missing := _unset({"twilio.account_sid": options.twilio.account_sid, **_login(options.twilio)}):
        return [_not_asked("Twilio", missing)]
    return await twilio.examine(options)


def _login(settings: TwilioSettings) -> dict[str, object]:
    """The secret that Twilio's REST API is asked with."""
    if settings.api_key_sid:
        return {"twilio.api_key_secret": settings.api_key_secret}
    return {"twilio.auth_token": settings.auth_token}


def _unset(settings: Mapping[str, object]) -> list[str]:
    return [name for name, value in settings.items() if not value]


def _not_asked(name: str, missing: Sequence[str]) -> Finding:
    verb = "is" if len(missing) == 1 else "are"
    return note(name, f"not asked: {' and '.join(missing)} {verb} not set for this command")
