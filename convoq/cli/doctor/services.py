"""The doctor looks outside: the port, the way from Twilio to here, the Twilio account, the model."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlencode

import aiohttp

from convoq.channels.twilio.webhooks import INBOUND_PATH, STATUS_PATH, console_url, inbound_url
from convoq.errors import ConvoqError, RetryLater, Unrecoverable
from convoq.monitoring.findings import Finding, Level, fail, note, ok, warn
from convoq.text import age

if TYPE_CHECKING:
    from convoq.ai.base import ModelCall
    from convoq.channels.twilio.account import TwilioAccount, WebhookUrls
    from convoq.settings import AiSettings, Options
    from convoq.settings.load import Loaded

WEB_TIMEOUT: Final = 10.0
MODEL_TIMEOUT: Final = 60.0


async def examine(loaded: Loaded, *, offline: bool) -> AsyncIterator[Finding]:
    options = loaded.options
    yield await _guarded("port", _port(options.server.host, options.server.port))
    if offline:
        yield note("services", "public URL, Twilio and model were not asked (--offline)")
        return
    if options.server.public_url:
        yield await _guarded("public URL", _public_url(options.server.public_url))
        if options.twilio.account_sid and options.twilio.auth_token:
            yield await _guarded("signature", _signature(options))
    if options.twilio.account_sid and options.twilio.has_login:
        async for finding in _twilio(options):
            yield finding
    yield await _guarded("model", _model(loaded))


async def _guarded(name: str, check: Awaitable[Finding]) -> Finding:
    """The finding; a check that breaks is a finding too."""
    try:
        return await check
    except ConvoqError as error:
        return fail(name, str(error))
    except Exception as error:  # noqa: BLE001 # whatever is wrong outside, the other checks are still made
        return fail(name, f"{type(error).__name__}: {error}")


async def _port(host: str, port: int) -> Finding:
    if not port:
        return note("port", "0: serve takes a free one at each start", "set server.port for production")
    near = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 # compared, not bound
    if await _listens(near, port):
        if await _is_convoq(near, port):
            return ok("port", f"{host}:{port} is served by convoq")
        return fail("port", f"{host}:{port} is taken by another program", "end it, or set another server.port")
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return ok("port", f"{host}:{port} is free: convoq serve is not running")
    except OSError as error:
        reason = error.strerror or str(error)
        return fail("port", f"{host}:{port} cannot be listened on: {reason}", "look at server.host and port")


async def _listens(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(2):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def _is_convoq(host: str, port: int) -> bool:
    name = f"[{host}]" if ":" in host else host
    try:
        status, text = await _request("GET", f"http://{name}:{port}/healthz")
    except (aiohttp.ClientError, TimeoutError):
        return False
    return status == 200 and _says_ok(text)


def _says_ok(text: str) -> bool:
    try:
        answer = json.loads(text)
    except ValueError:
        return False
    return isinstance(answer, dict) and answer.get("status") == "ok"


async def _request(
    method: str, url: str, *, form: Sequence[tuple[str, str]] = (), headers: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Status and the beginning of the answer. Redirects are not followed: Twilio's signature would not survive them."""
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=WEB_TIMEOUT)) as session,
        session.request(
            method, url, data=urlencode(form).encode() if form else None, headers=headers, allow_redirects=False
        ) as response,
    ):
        content = await response.content.read(4096)
        return response.status, content.decode("utf-8", "replace")


async def _public_url(public_url: str) -> Finding:
    try:
        status, text = await _request("GET", f"{public_url}/healthz")
    except aiohttp.ClientConnectorCertificateError as error:
        reason = str(error.certificate_error)
        return fail("public URL", f"{public_url}: its certificate is refused: {reason}", RENEW)
    except (aiohttp.ClientError, TimeoutError) as error:
        return fail("public URL", f"{public_url} cannot be reached: {_why(error)}", POINT_TO_PROXY)
    if status == 200 and _says_ok(text):
        return ok("public URL", f"{public_url}/healthz is answered by convoq")
    if 300 <= status < 400:
        return fail("public URL", f"{public_url} redirects ({status})", "set server.public_url to where it leads")
    if status in (502, 503, 504):
        return fail("public URL", f"{public_url}: the proxy answers {status}", "start convoq serve")
    if status in (403, 404):
        # A proxy may well pass the webhooks alone: the next check tells.
        return note("public URL", f"{public_url} is up, but /healthz is not passed on ({status})")
    return fail("public URL", f"{public_url}/healthz is answered {status}, not by convoq", POINT_TO_PROXY)


def _why(error: Exception) -> str:
    """Why there is no answer, in the system's words: aiohttp's own speak of its inner workings."""
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno or 0
        # The resolver's numbers are negative and have words of their own.
        return os.strerror(number) if number > 0 else error.os_error.strerror or str(error.os_error)
    return str(error) or f"no answer within {WEB_TIMEOUT:g} s"


RENEW: Final = "renew the certificate, or look whether the proxy sends the whole chain"
POINT_TO_PROXY: Final = "look at its DNS name, the firewall and the proxy in front of convoq serve"


async def _signature(options: Options) -> Finding:
    """Posts a form that is signed as Twilio signs, but is no message: it gets past the signature and no further."""
    from convoq.channels.twilio.signature import SIGNATURE_HEADER, sign

    url = inbound_url(options.server.public_url or "")
    form = [("AccountSid", options.twilio.account_sid or "")]
    token = options.twilio.auth_token.get_secret_value() if options.twilio.auth_token else ""
    headers = {SIGNATURE_HEADER: sign(token, url, form), "Content-Type": "application/x-www-form-urlencoded"}
    try:
        status, _ = await _request("POST", url, form=form, headers=headers)
    except (aiohttp.ClientError, TimeoutError) as error:
        return note("signature", f"could not be tried: {_why(error)}")
    if status == 400:
        return ok("signature", f"a signed request to {url} is recognised")
    if status == 403:
        return fail(
            "signature",
            f"a signed request to {url} is taken for a forgery",
            "the running convoq serve has another public_url or auth token (restart it), or the proxy changes"
            " path, query or body",
        )
    return fail(
        "signature",
        f"a signed request to {url} is answered {status}",
        "start convoq serve" if status in (502, 503, 504) else f"have the proxy pass {INBOUND_PATH} on unchanged",
    )


async def _twilio(options: Options) -> AsyncIterator[Finding]:
    from convoq.channels.twilio.account import TwilioAccount
    from convoq.clock import WallClock

    try:
        account = await TwilioAccount.open(options.twilio, clock=WallClock())
    except ConvoqError as error:
        yield fail("Twilio", str(error))
        return
    try:
        credentials = await _guarded("Twilio", _credentials(account))
        yield credentials
        if credentials.level is Level.OK and options.server.public_url:
            async for finding in _numbers(account, options):
                yield finding
    finally:
        await account.close()


async def _credentials(account: TwilioAccount) -> Finding:
    check = await account.check()
    if check.ok:
        return ok("Twilio", check.detail)
    return fail("Twilio", check.detail, "look at twilio.account_sid and the token or key, and at the account")


async def _numbers(account: TwilioAccount, options: Options) -> AsyncIterator[Finding]:
    wanted = console_url(options.server.public_url or "")
    addresses = [number.address for number in options.numbers]
    for address in addresses:
        if address.startswith("+"):
            yield await _guarded(address, _number(account, address, wanted, bool(options.twilio.messaging_service_sid)))
    others = [address for address in addresses if not address.startswith("+")]
    if others or not addresses:
        yield note(
            "webhook",
            f"Twilio does not tell what is set for {', '.join(others) or 'numbers that are not in [[numbers]]'}",
            f"there, as the webhook for incoming messages (POST): {wanted}",
        )
    yield note(
        "status URL",
        f"{options.server.public_url}{STATUS_PATH} is given to Twilio with each message: leave it empty in the console",
    )


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


async def _model(loaded: Loaded) -> Finding:
    """Asks the model for a word, through the very parts that the worker uses."""
    ai = _asked(loaded.options)
    if isinstance(ai, Finding):
        return ai
    from convoq.ai import build_responder
    from convoq.ai.base import Author, ContextLine, ReplyContext
    from convoq.clock import WallClock

    calls: list[ModelCall] = []

    async def record(call: ModelCall) -> None:
        calls.append(call)

    line = ContextLine(author=Author.CONTACT, text="Please answer with the one word: ready", at=WallClock().now())
    context = ReplyContext(
        conversation_id=0, persona="default", channel="twilio", our_address="+10000000000", address="+10000000001",
        contact_name=None, lines=(line,), record=record,
    )  # fmt: skip
    responder = build_responder(ai, (), base_dir=loaded.base_dir)
    try:
        async with asyncio.timeout(MODEL_TIMEOUT):
            await responder.warm()
            begun = time.monotonic()
            reply = await responder.reply(context)
    except TimeoutError:
        return fail("model", f"{ai.model}: no answer within {MODEL_TIMEOUT:g} s", "look at ai.base_url")
    except (RetryLater, Unrecoverable) as error:
        return fail("model", f"{ai.model}: {error}", "look at ai.model, ai.api_key and ai.base_url")
    finally:
        await responder.close()
    tokens = f"{sum(call.input_tokens for call in calls)} tokens in, {sum(call.output_tokens for call in calls)} out"
    return ok("model", f"{reply.model} answered in {age(time.monotonic() - begun)} ({tokens})")


def _asked(options: Options) -> AiSettings | Finding:
    """The settings with the model to ask; a finding where none can be asked."""
    named = [options.ai.model, *(persona.model for persona in options.personas)]
    model = next((name for name in named if name and name != "offline"), None)
    if model is not None:
        return options.ai.model_copy(update={"model": model})
    if any(persona.agent for persona in options.personas):
        return note("model", "agents of your own answer: they are not asked here")
    if "offline" in named:
        detail = "the offline responder answers: rules that say they are a demo"
        return warn("model", detail, "set ai.model for real answers")
    return note("model", "none is set, so none was asked")
