"""Every option of convoq: its default (options), where it is read from (sources, load), and what must hold (checks)."""

from convoq.settings.options import (
    AiSettings,
    ConversationSettings,
    DatabaseSettings,
    LogSettings,
    NumberSettings,
    Options,
    PersonaSettings,
    QueueSettings,
    RedisSettings,
    ScheduleSettings,
    Seconds,
    Section,
    ServerSettings,
    TwilioSettings,
    WorkSettings,
)

__all__ = [
    "AiSettings",
    "ConversationSettings",
    "DatabaseSettings",
    "LogSettings",
    "NumberSettings",
    "Options",
    "PersonaSettings",
    "QueueSettings",
    "RedisSettings",
    "ScheduleSettings",
    "Seconds",
    "Section",
    "ServerSettings",
    "TwilioSettings",
    "WorkSettings",
]
