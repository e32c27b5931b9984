"""Every option and its default, with those of section.py and people.py: the only place that knows them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator

from convoq.settings.money import BudgetSettings, PriceSettings
from convoq.settings.notify import NotifySettings
from convoq.settings.people import (
    ConversationSettings,
    HandoverSettings,
    LoopSettings,
    NoticeSettings,
    NumberSettings,
    PersonaSettings,
)
from convoq.settings.retention import RetentionSettings
from convoq.settings.section import Seconds, Section
from convoq.settings.templates import TemplateSettings


class DatabaseSettings(Section):
    """What holds the queue and the conversations: one file, or PostgreSQL (`pip install 'convoq[postgres]'`)."""

    path: Path = Path("convoq.db")
    """The SQLite file. Its directory belongs to convoq alone and is on a local disk. A relative path in convoq.toml,
    and the default, starts at the directory of convoq.toml; any other, and without a convoq.toml, at the working
    directory."""

    url: str | None = Field(default=None, examples=["postgresql://convoq@db.internal/convoq"])
    """The PostgreSQL database (14 or newer), instead of a file; what else libpq takes, such as sslmode, goes behind a
    question mark. Of this and path the one that is set in the place that comes first holds."""

    min_free_mb: int = Field(default=64, ge=0)
    """Below this much free disk space (or 5 % of the disk, at most 1 GB) the webhook says 503; 0 switches that off. Of
    the file alone: how much room a server has, nobody tells."""

    password: SecretStr | None = Field(default=None, examples=["your-password"])
    """What the PostgreSQL server asks for, if anything."""

    pool: int = Field(default=4, ge=1, le=64)
    """Connections to the PostgreSQL database that each process keeps for the conversations; the queue has its own."""

    direct_url: str | None = Field(default=None, examples=["postgresql://convoq@db.internal:5432/convoq"])
    """Where url leads through a transaction pooler (PgBouncer and the like): the same database without it, for what
    has to keep its session."""


class ServerSettings(Section):
    """The public webhook listener. Put a TLS proxy in front of it."""

    host: str = "127.0.0.1"
    """The address to listen on. A socket that systemd hands over comes first."""

    port: int = Field(default=8080, ge=0, le=65535)
    """The port to listen on; 0 takes a free one and prints it."""

    public_url: str | None = Field(default=None, examples=["https://bot.example.com"])
    """How Twilio reaches this server: scheme, host, and the path before /twilio if there is one. Twilio signs it."""

    write_timeout: Annotated[float, Field(gt=0, le=10)] = 3.5
    """Seconds until a webhook that cannot be stored is answered 503."""

    drain_timeout: Seconds = 5.0
    """Seconds that open requests may take after a stop signal."""

    @field_validator("public_url")
    @classmethod
    def _without_final_slash(cls, value: str | None) -> str | None:
        # A path is appended to it for the signature: two slashes would make every request look forged.
        return value.removesuffix("/") if value else value


class ConsoleSettings(Section):
    """The listener of `convoq console`: the REST API for your own people and programs. Never put it on the internet as
    it is."""

    host: str = "127.0.0.1"
    """The address to listen on."""

    port: int = Field(default=8081, ge=0, le=65535)
    """The port to listen on; 0 takes a free one and prints it."""

    beyond_loopback: bool = False
    """Listen also on an address that other machines reach. Tokens go over it as they are: put TLS in front of it."""

    names: tuple[str, ...] = Field(default=(), examples=[["desk.example.com"]])
    """The names by which it is asked, besides host and localhost: of the proxy in front of it. A request for any other
    one is refused."""

    drain_timeout: Seconds = 5.0
    """Seconds that open requests may take after a stop signal."""


class TwilioSettings(Section):
    """Your Twilio account."""

    account_sid: str | None = Field(default=None, pattern=r"^AC[0-9a-f]{32}$", examples=["AC" + 32 * "0"])
    """The account, from the first page of the Twilio console; starts with AC."""

    auth_token: SecretStr | None = Field(default=None, examples=["your-auth-token"])
    """The primary auth token: Twilio signs webhooks with it."""

    auth_tokens: tuple[SecretStr, ...] = ()
    """More auth tokens that signatures may be made with: put the new one here before you rotate."""

    api_key_sid: str | None = Field(default=None, pattern=r"^SK[0-9a-f]{32}$", examples=["SK" + 32 * "0"])
    """An API key (starts with SK) for sending; without one the auth token is used."""

    api_key_secret: SecretStr | None = Field(default=None, examples=["your-api-key-secret"])
    """The API key's secret."""

    messaging_service_sid: str | None = Field(default=None, pattern=r"^MG[0-9a-f]{32}$", examples=["MG" + 32 * "0"])
    """Send through this Messaging Service (starts with MG)."""

    api_base_url: str = "https://api.twilio.com"
    """Where Twilio's REST API is. Tests point it elsewhere."""

    timeout: Seconds = 10.0
    """Seconds for one REST request in all."""

    validity_period: int = Field(default=3600, ge=1, le=36000)
    """Seconds after which Twilio drops a reply that it could not deliver."""

    reconcile_after: Seconds = 5.0
    """Seconds to wait after a send with an unknown outcome before Twilio is asked whether it went out. After a send
    whose worker died, twilio.timeout comes on top: its request may still be under way."""

    pace: bool = True
    """Send no faster than each of your addresses may: what comes faster waits here, where a STOP still holds it, and
    not in Twilio's queue."""

    catch_up: bool = True
    """Every ten minutes, ask Twilio for messages of the last day whose webhook never came (a server that was down, a
    lost tunnel), and answer them. False where another program answers some of the messages to your numbers."""

    @property
    def signing_tokens(self) -> tuple[str, ...]:
        """Every auth token that a webhook may be signed with. Without one no webhook can be verified."""
        tokens = (self.auth_token, *self.auth_tokens)
        return tuple(token.get_secret_value() for token in tokens if token is not None)

    @property
    def has_login(self) -> bool:
        """Whether there is an auth token or an API key to send with."""
        return bool(self.auth_token or self.api_key_sid)


class QueueSettings(Section):
    """The durable queue."""

    engine: Literal["database", "redis"] = "database"
    """What keeps it: the database of the conversations, or a Redis server of its own ([redis])."""

    visibility_timeout: Annotated[float, Field(ge=1, le=43200)] = 60.0
    """Seconds a claim stays with a worker that no longer renews it."""

    max_attempts: int = Field(default=12, ge=1, le=100)
    """Starts that a job gets before it goes to the dead letters."""

    backoff_base: Seconds = 2.0
    """Seconds of the first retry's longest wait; doubles with each attempt."""

    backoff_cap: Seconds = 600.0
    """The longest wait between two attempts, in seconds."""

    retention: Annotated[float, Field(ge=0)] = 7 * 86400.0
    """Seconds that finished jobs stay visible. On Redis they take memory: an hour is enough for most."""


class RedisSettings(Section):
    """The Redis or Valkey server of `queue.engine = "redis"`, which needs `pip install 'convoq[redis]'`."""

    url: str = "redis://127.0.0.1:6379/0"
    """Where it is: redis://, rediss:// (TLS) or unix:// with the path of a socket."""

    ca_file: Path | None = Field(default=None, examples=["redis-ca.pem"])
    """The certificates, in PEM, that vouch for a rediss:// server; default: those that the machine believes. A relative
    path starts at convoq.toml."""

    username: str | None = Field(default=None, examples=["convoq"])
    """Of an ACL; without one the password is the default user's."""

    password: SecretStr | None = Field(default=None, examples=["your-password"])
    """What the server asks for, if anything."""

    prefix: str = "convoq"
    """Begins the names of all keys: each installation that shares a server has its own."""

    replicas: int = Field(default=0, ge=0, le=10)
    """So many replicas have a job before it counts as stored, on their disks (from Redis 7.2 on; before, in memory)."""

    replica_timeout: Seconds = 1.0
    """Seconds until an enqueue that too few of them have taken fails, and its webhook is answered 503."""

    durability: Literal["checked", "trusted"] = "checked"
    """`"trusted"`: the server hides its configuration, and its maker promises that nothing acknowledged is lost."""

    accept_loss: bool = False
    """Start also on a server that a restart, a power cut or a failover takes accepted messages from."""


class WorkSettings(Section):
    """The worker."""

    concurrency: int = Field(default=8, ge=1, le=256)
    """Conversations handled at the same time."""

    drain_timeout: Seconds = 20.0
    """Seconds that running jobs may take after a stop signal before they are handed back."""

    deadline: Seconds = 120.0
    """Seconds that one run of a handler may take."""


class AiSettings(Section):
    """The model that writes the replies."""

    model: str | None = Field(default=None, examples=["openai:gpt-5-mini"])
    """A model by name ("openai:gpt-5-mini", "anthropic:claude-sonnet-4-5", any name with a base_url).

    "offline" answers with the fixed rules of a demo: for `convoq dev`. Real people get those only from a worker
    that was started with --allow-offline."""

    base_url: str | None = Field(default=None, examples=["http://127.0.0.1:11434/v1"])
    """An OpenAI-compatible endpoint, e.g. "http://127.0.0.1:11434/v1" for Ollama."""

    api_key: SecretStr | None = Field(default=None, examples=["your-key"])
    """The key of the model's provider, or of the base_url. A key that the environment holds for a provider, such as
    OPENAI_API_KEY, is never sent to a base_url."""

    prompt_file: Path | None = Field(default=None, examples=["prompt.md"])
    """A text file in which your business says who it is and how to answer: the instructions of every persona without
    a prompt_file of its own. A relative path starts at convoq.toml."""

    timeout: Seconds = 45.0
    """Seconds for one request to a model in all."""

    fallback_model: str | None = Field(default=None, examples=["anthropic:claude-sonnet-4-5"])
    """The model to ask when the first one fails."""

    fallback_base_url: str | None = Field(default=None, examples=["http://127.0.0.1:8000/v1"])
    """The fallback model's endpoint; default: its provider's own."""

    fallback_api_key: SecretStr | None = Field(default=None, examples=["your-other-key"])
    """The fallback model's key; default: api_key, where both models have the same provider and the same base_url."""

    history_tokens: int = Field(default=4000, ge=100)
    """About how many tokens of the conversation the model is shown."""

    max_output_tokens: int = Field(default=2000, ge=16)
    """The most tokens of one answer, those among them that a model thinks. One that has thought up to the limit and
    said nothing is asked once more, with four times as many."""

    max_requests_per_message: int = Field(default=6, ge=1)
    """The most requests to models that a message may cost, over all attempts, fallbacks and agents in tools; what a
    tool asks without an agent is not seen. Those do not count that a provider turned down. Then it is a dead letter."""

    max_output_tokens_per_message: int = Field(default=10_000, ge=16)
    """The most tokens that models may write for a message, over all attempts. Of an answer that was lost (no end in
    time, a lost connection, a newer message) those count that it had time for: 100 a second."""


class ScheduleSettings(Section):
    """A job of your own that is enqueued on time."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$", examples=["morning-greeting"])
    """Its identity: a slot of a name is enqueued at most once."""

    kind: str = Field(examples=["greet.morning"])
    """The job's kind: a built-in one or one of [handlers]."""

    payload: dict[str, Any] = Field(default={}, examples=[{"greeting": "Good morning!"}])
    """The job's payload."""

    every: Annotated[float, Field(ge=1, le=366 * 86400)] | None = Field(default=None, examples=[3600.0])
    """Seconds between two runs. Give this or cron."""

    cron: str | None = Field(default=None, examples=["0 9 * * mon-fri"])
    """Five fields: minute, hour, day of month, month, day of week. Give this or every."""

    timezone: str = "UTC"
    """The zone that cron is read in, e.g. "Europe/Madrid"."""

    missed: Literal["once", "skip"] = "once"
    """What becomes of runs that could not begin in time, because the scheduler or the worker was down: one of them is
    made up for within a week, or none is run that is more than a minute late."""

    overlap: bool = False
    """Whether a run may begin while the one before it goes on. While one waits, no other is added."""


class LogSettings(Section):
    """The log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least level that is written."""

    format: Literal["auto", "json", "console"] = "auto"
    """auto: for people on a terminal, JSON elsewhere."""


class Options(Section):
    """convoq.toml as a whole."""

    database: DatabaseSettings = DatabaseSettings()
    server: ServerSettings = ServerSettings()
    console: ConsoleSettings = ConsoleSettings()
    twilio: TwilioSettings = TwilioSettings()
    queue: QueueSettings = QueueSettings()
    redis: RedisSettings = RedisSettings()
    work: WorkSettings = WorkSettings()
    ai: AiSettings = AiSettings()
    numbers: tuple[NumberSettings, ...] = ()
    personas: tuple[PersonaSettings, ...] = ()
    conversation: ConversationSettings = ConversationSettings()
    notices: NoticeSettings = NoticeSettings()
    handover: HandoverSettings = HandoverSettings()
    notify: NotifySettings = NotifySettings()
    budgets: BudgetSettings = BudgetSettings()
    prices: tuple[PriceSettings, ...] = ()
    loops: LoopSettings = LoopSettings()
    templates: tuple[TemplateSettings, ...] = ()
    schedules: tuple[ScheduleSettings, ...] = ()
    handlers: dict[str, str] = Field(default={}, examples=[{"greet.morning": "mybot:greet"}])
    """Handlers of your own: the kind of job, and the "module:attribute" that handles it."""
    retention: RetentionSettings = RetentionSettings()
    log: LogSettings = LogSettings()
