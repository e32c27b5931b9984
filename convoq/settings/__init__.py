"""Every option of convoq: its default (options), where it is read from (sources, load), and what must hold (checks)."""

from convoq.settings.money import BudgetSettings, PriceSettings
from convoq.settings.options import (
    AiSettings,
    DatabaseSettings,
    LogSettings,
    Options,
    QueueSettings,
    RedisSettings,
    ScheduleSettings,
    ServerSettings,
    TwilioSettings,
    WorkSettings,
)
from convoq.settings.people import ConversationSettings, NumberSettings, PersonaSettings
from convoq.settings.section import Seconds, Section
from convoq.settings.templates import TemplateSettings

__all__ = [
    "AiSettings",
    "BudgetSettings",
    "ConversationSettings",
    "DatabaseSettings",
    "LogSettings",
    "NumberSettings",
    "Options",
    "PersonaSettings",
    "PriceSettings",
    "QueueSettings",
    "RedisSettings",
    "ScheduleSettings",
    "Seconds",
    "Section",
    "ServerSettings",
    "TemplateSettings",
    "TwilioSettings",
    "WorkSettings",
]
