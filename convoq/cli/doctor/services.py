"""The doctor looks outside: the way from Twilio to here, the Twilio account, the model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING

from convoq.cli.doctor import model, twilio, web
from convoq.cli.doctor.guard import guarded
from convoq.monitoring.findings import Finding, note
from convoq.settings.problems import dotted

if TYPE_CHECKING:
    from convoq.settings import Options, TwilioSettings
    from convoq.settings.load import Loaded
    from convoq.settings.problems import Missing


async def examine(
    loaded: Loaded, secrets: Sequence[Missing] = (), *, offline: bool, as_unit: str | None = None
) -> AsyncIterator[Finding]:
    """Asks what the settings allow to ask, and says of each other check why it was not made.

    `secrets` are those that roles miss here; `as_unit` is the command that runs the doctor with them.
    """
    options = loaded.options
    yield await guarded("port", web.check_port(options.server.host, options.server.port))
    yield await guarded("proxy", web.check_proxy(options))
    if offline:
        yield note("services", "public URL, Twilio and model were not asked (--offline)")
    else:
        async for finding in _outside(loaded, options):
            yield finding
    if secrets:
        names = ", ".join(dict.fromkeys(dotted(secret.setting) for secret in secrets))
        yield note("secrets", f"this command was not given {names}: what it would show was not asked", as_unit)


async def _outside(loaded: Loaded, options: Options) -> AsyncIterator[Finding]:
    url = {"server.public_url": options.server.public_url}
    account = {"twilio.account_sid": options.twilio.account_sid}
    if missing := _unset(url):
        yield _not_asked("public URL", missing)
    else:
        yield await guarded("public URL", web.check_public_url(options.server.public_url or ""))
    if missing := _unset({**url, **account, "twilio.auth_token": options.twilio.auth_token}):
        yield _not_asked("signature", missing)
    else:
        yield await guarded("signature", web.check_signature(options))
    if missing := _unset({**account, **_login(options.twilio)}):
        yield _not_asked("Twilio", missing)
    else:
        async for finding in twilio.examine(options):
            yield finding
    yield await guarded("model", model.check_model(loaded))


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
