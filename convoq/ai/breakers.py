"""What keeps models from being asked while they fail: the account's refusals, the server's outages, the model's own."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from pydantic_ai.models import Model

from convoq.ai.failures import ModelFailure
from convoq.breaker import Breaker, Breakers


class ModelBreakers(Breakers[ModelFailure]):
    """One model's, of which it shares the server's and the account's with all others that are asked there."""

    def __init__(
        self, *, account: Breaker[ModelFailure], server: Breaker[ModelFailure], model: Breaker[ModelFailure]
    ) -> None:
        super().__init__(account, server, model)
        self._account, self._server, self._model = account, server, model

    def failed(self, caller: int, failure: ModelFailure) -> float:
        """Seconds to wait before those are asked again that the failure tells of."""
        if failure.unreachable:
            return self._server.failed(caller, failure, failure.retry_after)
        if failure.outcome != "timeout":
            self._server.ended()  # it has answered
        wait = self._model.failed(caller, failure, failure.retry_after)
        if failure.of_account:
            wait = max(wait, self._account.failed(caller, failure, failure.retry_after))
        return wait


class BreakerRegistry:
    """The breakers of all models that a worker asks. `clock` gives seconds that never jump."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._breakers: dict[Hashable, Breaker[ModelFailure]] = {}

    def of(self, model: Model[Any]) -> ModelBreakers:
        server = (model.system, (model.base_url or "").rstrip("/"))
        account = (*server, getattr(getattr(model, "client", None), "api_key", None))
        return ModelBreakers(
            account=self._one(account), server=self._one(server), model=self._one((*account, model.model_name))
        )

    def _one(self, key: Hashable) -> Breaker[ModelFailure]:
        return self._breakers.setdefault(key, Breaker(self._clock))
