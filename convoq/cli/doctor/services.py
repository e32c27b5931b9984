"""The doctor looks outside: the way from Twilio to here, the Twilio account, the model."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from convoq.cli.doctor import model, twilio, web
from convoq.cli.doctor.guard import guarded
from convoq.monitoring.findings import Finding, note

if TYPE_CHECKING:
    from convoq.settings.load import Loaded


async def examine(loaded: Loaded, *, offline: bool) -> AsyncIterator[Finding]:
    options = loaded.options
    yield await guarded("port", web.check_port(options.server.host, options.server.port))
    yield await guarded("proxy", web.check_proxy(options))
    if offline:
        yield note("services", "public URL, Twilio and model were not asked (--offline)")
        return
    if options.server.public_url:
        yield await guarded("public URL", web.check_public_url(options.server.public_url))
        if options.twilio.account_sid and options.twilio.auth_token:
            yield await guarded("signature", web.check_signature(options))
    if options.twilio.account_sid and options.twilio.has_login:
        async for finding in twilio.examine(options):
            yield finding
    yield await guarded("model", model.check_model(loaded))
