"""What a message takes of its sender's time."""

from __future__ import annotations

import pytest

from convoq.channels.twilio.rates import airtime, segments, usual_rate


@pytest.mark.parametrize(
    ("address", "rate"),
    [
        ("whatsapp:+15550009999", 80.0),
        ("whatsapp:+14155238886", 1 / 3),
        ("+15550009999", 1.0),
        ("+18445550000", 3.0),
        ("+4915112345678", 10.0),
        ("12345", 100.0),
        ("MyShop", 10.0),
        ("messenger:123", 0.0),
    ],
)
def test_each_kind_of_address_has_its_rate(address: str, rate: float) -> None:
    assert usual_rate(address) == rate


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("a", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("ñ" * 160, 1),
        ("ç" * 70, 1),
        ("ç" * 71, 2),
        ("😀" * 35, 1),
        ("😀" * 36, 2),
    ],
)
def test_an_sms_has_as_many_segments_as_carriers_count(text: str, count: int) -> None:
    assert segments(text) == count


def test_an_sms_takes_the_time_of_its_segments_and_whatsapp_that_of_a_message() -> None:
    assert airtime("+15550009999", "a" * 307, None) == 3.0
    assert airtime("whatsapp:+15550009999", "a" * 1600, None) == 1 / 80


def test_the_settings_of_a_number_come_before_what_is_usual() -> None:
    assert airtime("+15550009999", "hello", 5.0) == 0.2
    assert airtime("+15550009999", "hello", 0.0) == 0.0
