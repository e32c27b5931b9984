"""What each role cannot start without, as records: the command that prints them makes the sentences."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

from convoq.errors import ConfigError
from convoq.monitoring.roles import Role
from convoq.outbound import is_loopback
from convoq.settings.options import ConsoleSettings, Options, TwilioSettings
from convoq.settings.people import DEFAULT_PERSONA
from convoq.settings.problems import Missing, RequirementUnmet, Unmet, Unusable

if TYPE_CHECKING:
    from convoq.jobs import NewJob
    from convoq.queue.base import Enqueued
    from convoq.settings.load import Loaded

_FIRST_PAGE: Final = "on the first page of console.twilio.com"


def require(
    options: Options, role: Role, *, environ: Mapping[str, str] = os.environ, allow_offline: bool = False
) -> None:
    """Returns when the settings hold what the role needs. Raises ConfigError with a line for everything else."""
    if unmet := missing_for(options, role, environ=environ, allow_offline=allow_offline):
        raise ConfigError("\n".join(map(str, unmet)))


def missing_for(
    options: Options, role: Role, *, environ: Mapping[str, str] = os.environ, allow_offline: bool = False
) -> list[Unmet]:
    """What the role misses in the settings, and the models in them that cannot or must not be asked."""
    match role:
        case "serve":
            return list(_serve(options))
        case "work":
            from convoq.ai.endpoints import endpoint_problems  # it brings the room of the AI with it

            return [
                *_work(options.twilio),
                *_model(options),
                *([] if allow_offline else _offline(options)),
                *endpoint_problems(options.ai, options.personas, environ),
                *_prices(options),
            ]
        case "console":
            return list(_console(options.console))
        case "schedule":
            return []


def _serve(options: Options) -> Iterator[Missing]:
    if not options.server.public_url:
        meaning = 'the https address under which Twilio reaches you: "https://bot.example.com"'
        yield Missing(("server", "public_url"), meaning)
    yield from _account(options.twilio)
    if not options.twilio.signing_tokens:
        yield Missing(("twilio", "auth_token"), "webhooks are signed with it", _FIRST_PAGE)


def _console(console: ConsoleSettings) -> Iterator[Unusable]:
    if not (console.beyond_loopback or is_loopback(f"http://{_in_url(console.host)}")):
        problem = f"console.host: {console.host} is reached by other machines, and tokens would go there unencrypted"
        yield Unusable(problem, "Put TLS in front of it and set console.beyond_loopback = true, or take 127.0.0.1")


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _work(twilio: TwilioSettings) -> Iterator[Missing]:
    yield from _account(twilio)
    if not twilio.has_login:
        where = f"{_FIRST_PAGE} (or an API key: twilio.api_key_sid and twilio.api_key_secret)"
        yield Missing(("twilio", "auth_token"), "messages are sent with it", where)
    if twilio.api_key_sid and not twilio.api_key_secret:
        meaning = "it belongs to twilio.api_key_sid and was shown when the key was made"
        yield Missing(("twilio", "api_key_secret"), meaning)
    if twilio.api_key_secret and not twilio.api_key_sid:
        yield Missing(("twilio", "api_key_sid"), "starts with SK; it belongs to twilio.api_key_secret")


def _account(twilio: TwilioSettings) -> Iterator[Missing]:
    if not twilio.account_sid:
        yield Missing(("twilio", "account_sid"), "starts with AC", _FIRST_PAGE)


def _model(options: Options) -> Iterator[Missing]:
    own = {persona.name for persona in options.personas if persona.agent or persona.model}
    # A number that no persona is named for is answered by the default one.
    if options.ai.model is None and not own >= {DEFAULT_PERSONA, *(persona.name for persona in options.personas)}:
        yield Missing(("ai", "model"), 'the model that writes the replies: "openai:gpt-5-mini"')


def _prices(options: Options) -> Iterator[Unusable]:
    from convoq.ai.prices import named_models

    yield from unpriced(options, named_models(options.ai, options.personas))


def unpriced(options: Options, models: Mapping[str, str]) -> Iterator[Unusable]:
    """A ceiling in money holds only where it is known what a request may cost. `models` with where they are named."""
    from convoq.ai.prices import PriceList, shipped_price

    budgets = options.budgets
    if not budgets.has_money:
        return
    prices = PriceList(options.prices, budgets.currency)
    for model, where in models.items():
        if prices.of(model) is None:
            known = " but in USD" if shipped_price(model) else ""
            problem = f'{where}: what "{model}" costs is not known{known}, so no ceiling in money ([budgets]) can hold'
            yield Unusable(problem, f"Give it a price in {budgets.currency} in [[prices]]; 0 where it costs nothing")


def require_prices(options: Options, models: Mapping[str, str]) -> None:
    """Raises ConfigError for the first of the models that has none where one is needed."""
    for unmet in unpriced(options, models):
        raise RequirementUnmet(unmet)


def _offline(options: Options) -> Iterator[Unusable]:
    """A demo's rules must not reach people by an oversight; at a Twilio on this machine there are none."""
    from convoq.ai.endpoints import OFFLINE

    if is_loopback(options.twilio.api_base_url):
        return
    named = [("ai.model", options.ai.model), *((f"personas.{one.name}.model", one.model) for one in options.personas)]
    for setting, model in named:
        if model == OFFLINE:
            problem = f'{setting}: "{OFFLINE}" would answer people with the fixed rules of a demo'
            yield Unusable(problem, 'Name a model, like "openai:gpt-5-mini", or mean it: convoq work --allow-offline')


def check_role(loaded: Loaded, role: Role, *, allow_offline: bool = False) -> list[Unmet]:
    """Everything for which the role would refuse to start.

    For the worker the parts are asked that it is made of, so agents and handlers of the user's own are imported.
    """
    unmet = missing_for(loaded.options, role, allow_offline=allow_offline)
    for check in _part_checks(loaded) if role == "work" else ():
        try:
            check()
        except RequirementUnmet as error:
            unmet.append(error.unmet)
        except ConfigError as error:
            unmet += map(Unusable, str(error).splitlines())
    return list(dict.fromkeys(unmet))


def _part_checks(loaded: Loaded) -> list[Callable[[], object]]:
    from convoq.ai import build_responder
    from convoq.handlers.custom import load_custom

    options = loaded.options
    responder = partial(build_responder, options.ai, options.personas, base_dir=loaded.base_dir)
    return [
        lambda: require_prices(options, responder().check()),
        partial(load_custom, options.handlers, _NoQueue(), base_dir=loaded.base_dir),
    ]


class _NoQueue:
    """For handlers that are only looked up: none of them runs."""

    async def enqueue(self, job: NewJob) -> Enqueued:
        raise ConfigError(f"{job.kind}: nothing is enqueued while settings are checked")
