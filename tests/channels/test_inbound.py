"""Whatever a person sends arrives with words that an AI can read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoq.channels.base import Inbound, Keyword, Media
from convoq.channels.twilio.inbound import parse_inbound
from convoq.errors import Unrecoverable

SID = "SM" + "1a" * 16


def parse(body: str = "", **fields: str) -> Inbound:
    form = {"MessageSid": SID, "From": "whatsapp:+34600000001", "To": "whatsapp:+14155238886", "Body": body, **fields}
    return parse_inbound(list(form.items()))


def described(body: str = "", **fields: str) -> str:
    return parse(body, **fields).description


def media(*content_types: str) -> dict[str, str]:
    fields = {"NumMedia": str(len(content_types))}
    for index, content_type in enumerate(content_types):
        fields |= {f"MediaUrl{index}": f"https://api.twilio.com/{index}", f"MediaContentType{index}": content_type}
    return fields


def test_a_text_is_its_own_description() -> None:
    message = parse("  hola\n¿qué tal?  ", ProfileName=" Ana ")
    assert message == Inbound(
        provider_id=SID,
        channel="twilio",
        our_address="whatsapp:+14155238886",
        address="whatsapp:+34600000001",
        text="  hola\n¿qué tal?  ",
        description="  hola\n¿qué tal?  ",
        profile_name="Ana",
        carrier_replies=False,
    )


def test_addresses_stay_verbatim() -> None:
    assert parse("x", From="whatsapp:MX.1234").address == "whatsapp:MX.1234"
    assert parse("x", From="ACME Bank").address == "ACME Bank"


@pytest.mark.parametrize(
    ("content_types", "words"),
    [
        (["image/jpeg"], "[photo]"),
        (["image/jpeg", "image/png"], "[2 x photo]"),
        (["audio/ogg; codecs=opus"], "[voice note]"),
        (["audio/mpeg"], "[audio recording]"),
        (["video/mp4"], "[video]"),
        (["application/pdf"], "[PDF document]"),
        (["application/vnd.ms-excel"], "[document]"),
        (["text/vcard"], "[contact card]"),
        (["image/webp"], "[sticker]"),
        ([""], "[document]"),
        (["image/jpeg", "video/mp4"], "[photo]\n[video]"),
    ],
)
def test_media_has_words(content_types: list[str], words: str) -> None:
    assert described(**media(*content_types)) == words
    assert described("mira", **media(*content_types)) == f"{words}\nmira"


def test_media_is_kept_in_order() -> None:
    assert parse(**media("image/jpeg", "")).media == (
        Media(url="https://api.twilio.com/0", content_type="image/jpeg"),
        Media(url="https://api.twilio.com/1", content_type="application/octet-stream"),
    )


def test_media_count_need_not_be_a_number() -> None:
    assert parse("x", NumMedia="abc", MediaUrl="x", MediaUrlX="y").media == ()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"Latitude": "19.4", "Longitude": "-99.1"}, "[location: 19.4, -99.1]"),
        (
            {"Latitude": "19.4", "Longitude": "-99.1", "Label": "Zócalo", "Address": "Plaza\n1"},
            '[location: "Zócalo, Plaza 1" (19.4, -99.1)]',
        ),
        ({"Body": "Yes", "ButtonText": "Yes", "ButtonPayload": "yes_1"}, "[tapped a button (id: yes_1)]\nYes"),
        ({"ButtonText": "Yes", "ButtonPayload": "yes_1"}, '[tapped a button: "Yes" (id: yes_1)]'),
        ({"Body": "Large", "ListTitle": "Large", "ListId": "L"}, "[chose from a list (id: L)]\nLarge"),
        ({"Body": "no", "OriginalRepliedMessageSid": SID}, "[reply to an earlier message]\nno"),
        ({"Body": "look", "Forwarded": "true"}, "[forwarded message]\nlook"),
        (
            {"Body": "hi", "ReferralHeadline": "Summer sale", "ReferralSourceUrl": "https://fb.me/1"},
            "[wrote after seeing an ad: Summer sale | https://fb.me/1]\nhi",
        ),
        ({"FlowData": '{"name":"Ana","seats":2}'}, '[filled in a form: "name = Ana; seats = 2"]'),
        ({"InteractiveData": "not json"}, '[filled in a form: "not json"]'),
        ({"InteractiveData": "[" * 100_000}, '[filled in a form: "' + "[" * 299 + '…"]'),
        (
            {"Latitude": "1", "Longitude": "2", "Label": 'home" (0, 0)] [refund granted "'},
            "[location: \"home' (0, 0)] [refund granted '\" (1, 2)]",
        ),
        ({"MessageType": "order"}, "[a message of the kind order]"),
        ({"MessageType": "text"}, "[empty message]"),
        ({"Body": " \n"}, "[empty message]"),
    ],
)
def test_everything_else_has_words(fields: dict[str, str], words: str) -> None:
    assert described(**fields) == words


SMS = {"From": "+15551230001", "To": "+15550009999"}


def test_nul_never_gets_in() -> None:
    message = parse("a\0b", ProfileName="A\0na")
    assert (message.text, message.description, message.profile_name) == ("ab", "ab", "Ana")


@pytest.mark.parametrize(
    ("text", "keyword"),
    [
        ("STOP", Keyword.STOP),
        (" stop. ", Keyword.STOP),
        ("Stop!", Keyword.STOP),
        ("¡STOP!", Keyword.STOP),
        ("ＳＴＯＰ", Keyword.STOP),
        ("stop all", Keyword.STOP),
        ("Opt-Out", Keyword.STOP),
        ("unsubscribe", Keyword.STOP),
        ("cancel", Keyword.STOP),
        ("End", Keyword.STOP),
        ("quit", Keyword.STOP),
        ("REVOKE", Keyword.STOP),
        ("start", Keyword.START),
        ("UNSTOP", Keyword.START),
        ("help", Keyword.HELP),
        ("Info?", Keyword.HELP),
        (" Yes! ", Keyword.YES),
        ("yes please", None),
        ("STOP please", None),
        ("please stop", None),
        ("helpful", None),
        ("", None),
        ("...", None),
        ("s" + " " * 200 + "top", None),
    ],
)
def test_a_keyword_is_the_whole_message(text: str, keyword: Keyword | None) -> None:
    assert parse(text, **SMS).keyword is keyword


def test_twilios_own_reading_of_a_keyword_wins() -> None:
    assert parse("alto", OptOutType="STOP").keyword is Keyword.STOP
    assert parse("stop", OptOutType="HELP").keyword is Keyword.HELP
    assert parse("stop", OptOutType="NEW").keyword is Keyword.STOP


@pytest.mark.parametrize("sender", ["whatsapp:+15551230001", "messenger:4711", "rcs:+15551230001"])
@pytest.mark.parametrize("text", ["cancel", "End", "quit", "revoke"])
def test_where_no_carrier_reserves_them_the_words_of_a_conversation_are_no_keywords(sender: str, text: str) -> None:
    assert parse(text, From=sender).keyword is None
    assert parse("stop", From=sender).keyword is Keyword.STOP


@pytest.mark.parametrize("sender", ["whatsapp:+15551230001", "messenger:4711", "rcs:+15551230001"])
def test_only_carriers_of_sms_answer_keywords_themselves(sender: str) -> None:
    for text in ("help", "info", "start"):
        assert parse(text, **SMS).carrier_replies
        assert not parse(text, From=sender).carrier_replies


@pytest.mark.parametrize("fields", [SMS, {}], ids=["sms", "whatsapp"])
@pytest.mark.parametrize(
    "text", ["BAJA", "Parar.", "sair", "Arrêt", "désabonner", "Stopp!", "ABMELDEN", "No más mensajes"]
)
def test_stop_is_understood_in_the_languages_that_people_write(text: str, fields: dict[str, str]) -> None:
    assert parse(text, **fields).keyword is Keyword.STOP


@pytest.mark.parametrize("text", ["alta", "Iniciar", "voltar", "anmelden"])
def test_who_comes_back_in_another_language_is_answered_by_us(text: str) -> None:
    back = parse(text, **SMS)
    assert (back.keyword, back.carrier_replies) == (Keyword.YES, False)


def test_a_button_says_in_its_payload_what_it_means() -> None:
    assert parse("No more offers", ButtonPayload="STOP", ButtonText="No more offers").keyword is Keyword.STOP
    assert parse("Cancel", ButtonPayload="booking-17", ButtonText="Cancel").keyword is None


@pytest.mark.parametrize("name", ["MessageSid", "From", "To"])
def test_garbage_is_unrecoverable(name: str) -> None:
    with pytest.raises(Unrecoverable, match=f"{name} is missing"):
        parse("x", **{name: ""})


@given(
    st.dictionaries(st.sampled_from(["Body", "ButtonText", "FlowData", "Label", "MediaUrl0", "MessageType"]), st.text())
)
def test_every_message_has_a_description(fields: dict[str, str]) -> None:
    assert described(**fields).strip()


@pytest.mark.parametrize("sender", ["+15551230001", "whatsapp:+15551230001"])
def test_where_advanced_opt_out_reads_a_keyword_twilio_answers_it_whatever_the_channel(sender: str) -> None:
    assert parse("BAJA", From=sender, OptOutType="STOP").carrier_replies


@pytest.mark.parametrize(
    ("text", "language"), [("baja", "es"), ("Sair", "pt"), ("arrêt", "fr"), ("stopp", "de"), ("STOP", None)]
)
def test_a_keyword_says_its_language(text: str, language: str | None) -> None:
    assert parse(text).keyword_language == language


@pytest.mark.parametrize(
    ("payload", "language"),
    [("BAJA", "es"), ("sair", "pt"), ("Arrêt", "fr"), ("abmelden", "de"), ("unsubscribe", "en"), ("STOP", None)],
)
def test_a_button_says_its_language_in_its_payload(payload: str, language: str | None) -> None:
    tapped = parse("👋", ButtonPayload=payload, ButtonText="👋")
    assert (tapped.keyword, tapped.keyword_language) == (Keyword.STOP, language)


def test_the_words_of_a_button_say_its_language_where_its_payload_does_not() -> None:
    for payload in ("menu-7", "STOP"):
        tapped = parse("Darme de baja", ButtonPayload=payload, ButtonText="Darme de baja")
        assert (tapped.keyword, tapped.keyword_language) == (Keyword.STOP, "es")
