"""The doctor looks at the Twilio account: its credentials, and where it sends the messages to our numbers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from convoq.channels.twilio.webhooks import STATUS_PATH, console_url
from convoq.cli.doctor.guard import guarded
from convoq.cli.doctor.web import WEB_TIMEOUT_SECONDS
from convoq.errors import ConvoqError
from convoq.monitoring.findings import Finding, Level, fail, note, ok, warn

if TYPE_CHECKING:
    from convoq.channels.twilio.account import TwilioAccount, WebhookUrls
    from convoq.settings import Options


async def examine(options: Options) -> list[Finding]:
    """The account first, then what it has on record of each of our numbers: two rounds of requests at most."""
    from convoq.channels.twilio.account import TwilioAccount
    from convoq.clock import WallClock

    timeout = min(options.twilio.timeout, WEB_TIMEOUT_SECONDS)
    try:
        settings = options.twilio.model_copy(update={"timeout": timeout})
        account = await TwilioAccount.open(settings, clock=WallClock())
    except ConvoqError as error:
        return [fail("Twilio", str(error))]
    try:
        credentials = await guarded("Twilio", _credentials(account))
        if credentials.level is Level.OK and options.server.public_url:
            return [credentials, *await _numbers(account, options)]
        return [credentials]
    finally:
        await account.close()


async def _credentials(account: TwilioAccount) -> Finding:
    check = await account.check()
    if check.ok:
        return ok("Twilio", check.detail)
    return fail("Twilio", check.detail, "look at twilio.account_sid and the token or key, and at the account")


async def _numbers(account: TwilioAccount, options: Options) -> list[Finding]:
    wanted = console_url(options.server.public_url or "")
    addresses = [number.address for number in options.numbers]
    ours = [address for address in addresses if address.startswith("+")]
    in_service = bool(options.twilio.messaging_service_sid)
    found = await asyncio.gather(*(guarded(one, _number(account, one, wanted, in_service)) for one in ours))
    others = [address for address in addresses if not address.startswith("+")]
    if others or not addresses:
        found.append(
            note(
                "webhook",
                f"Twilio does not tell what is set for {', '.join(others) or 'numbers that are not in [[numbers]]'}",
                f"there, as the webhook for incoming messages (POST): {wanted}",
            )
        )
    url = f"{options.server.public_url}{STATUS_PATH}"
    found.append(note("status URL", f"{url} is given to Twilio with each message: leave it empty in the console"))
    return found


async def _number(account: TwilioAccount, address: str, wanted: str, in_service: bool) -> Finding:
    found = await account.webhook_urls(address)
    if found is None:
        return fail(address, "the account has no such number", "look at [[numbers]], and at twilio.account_sid")
    return judge_webhook(address, found, wanted, in_service=in_service)


def judge_webhook(address: str, found: WebhookUrls, wanted: str, *, in_service: bool) -> Finding:
    """Whether the messages to a number come to us, and are tried again when we miss one."""
    fix = f"set its webhook for incoming messages (POST) to: {wanted}"
    target, _, overrides = found.sms_url.partition("#")
    if found.application_sid:
        return fail(
            address,
            f"its messages go to the TwiML App {found.application_sid}",
            f"remove the App, then {fix}",
        )
    if target != wanted.partition("#")[0]:
        if in_service:
            detail = f"its own webhook is {target or 'not set'}: the Messaging Service must have ours"
            return note(address, detail, f"in the service, under Integration, send a webhook to: {wanted}")
        return fail(address, f"its webhook is {target or 'not set'}", fix)
    if found.sms_method.upper() != "POST":
        return fail(address, f"its webhook uses {found.sms_method or 'no method'}, not POST", fix)
    given = parse_qs(overrides)
    policies = set(given.get("rp", [""])[0].split(","))
    if given.get("rc", ["1"])[0] in ("0", "1") or not policies & {"all", "5xx"}:
        return warn(address, "its webhook is right, but a message that meets an error is not tried again", fix)
    return ok(address, "its messages come here, and are tried again after an error")
