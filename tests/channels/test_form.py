"""Forms are read strictly, and a signed request cannot be reshaped into another message."""

from __future__ import annotations

import itertools
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoq.channels.twilio.form import MAX_FIELDS, check_shape_inbound, check_shape_status, parse_form
from convoq.channels.twilio.signature import canonical
from convoq.loopback.messages import TwilioMessage
from convoq.loopback.twilio import ACCOUNT_SID, LoopbackTwilio

SID = "SM" + "1a" * 16
OTHER = "SM" + "2b" * 16
Form = list[tuple[str, str]]


def whatsapp(**extra: str) -> Form:
    return LoopbackTwilio().inbound_form(
        from_="whatsapp:+34600000001", to="whatsapp:+14155238886", body="hola", sid=SID, extra=extra
    )


def sms(**extra: str) -> Form:
    return LoopbackTwilio().inbound_form(from_="+15551230001", to="+15557654321", body="hi", sid=SID, extra=extra)


def delivered() -> Form:
    message = TwilioMessage(sid=SID, to="+15551230001", from_="+15557654321", body="hi", created=0)
    return LoopbackTwilio().status_form(message, "delivered")


def without(form: Form, *names: str) -> Form:
    return [pair for pair in form if pair[0] not in names]


def reshaped(form: Form, old: Form, new: Form) -> Form:
    """The form with some neighbours replaced by others that are signed the same."""
    result = [pair for pair in form if pair not in old] + new
    assert canonical(result) == canonical(form), "the test's own reshaping must keep the signature"
    return result


# Reading


@given(st.lists(st.tuples(st.text(min_size=1), st.text()), max_size=20))
def test_parsing_returns_what_was_encoded(form: Form) -> None:
    assert parse_form(urlencode(form).encode()) == form


PIECES = ("a", "é", "%", "%2", "%41", "%c3%a9", "%C3", "%26", "%3D", "%25", "%zz", "&", "=", "+", ";")


@given(st.lists(st.sampled_from(PIECES)).map("".join))
def test_a_form_is_read_as_the_standard_library_reads_it(text: str) -> None:
    try:
        expected = parse_qsl(text, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        with pytest.raises(ValueError, match="not UTF-8"):
            parse_form(text.encode())
    else:
        assert parse_form(text.encode()) == expected


def test_blank_values_and_order_are_kept() -> None:
    assert parse_form(b"b=&a=1&b=2&c") == [("b", ""), ("a", "1"), ("b", "2"), ("c", "")]


@pytest.mark.parametrize("raw", [b"a=%ff", b"a=\xff", b"%c3=1", b"a=%ed%a0%80"])
def test_what_is_not_utf8_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="the form is not UTF-8"):
        parse_form(raw)


def test_fields_are_counted() -> None:
    assert len(parse_form(b"&".join([b"a=1"] * MAX_FIELDS))) == MAX_FIELDS
    with pytest.raises(ValueError, match="more than 100 fields"):
        parse_form(b"&".join([b"a=1"] * (MAX_FIELDS + 1)))


# What Twilio sends passes


@pytest.mark.parametrize("form", [whatsapp(), sms(), sms(ErrorCode="11200", ErrorUrl="https://h.example/x")])
def test_twilios_forms_have_the_shape(form: Form) -> None:
    assert check_shape_inbound(form, ACCOUNT_SID) is None


@pytest.mark.parametrize(
    "address",
    [
        "+15551234567",
        "whatsapp:+5215512345678",
        "whatsapp:MX.1234567890",
        "whatsapp:US.ENT.a1B2c3",
        "12345",
        "ACME Bank",
        "T-Mobile",
        "Anonymous",
        "*62",
        "rcs:+15551234567",
        "rcs:acme_agent_x1",
        "messenger:1234567890",
    ],
)
def test_every_kind_of_address_passes(address: str) -> None:
    assert check_shape_inbound(sms(From=address), ACCOUNT_SID) is None
    assert check_shape_inbound(sms(To=address), ACCOUNT_SID) is None


def test_what_twilio_may_add_passes() -> None:
    extra = {
        "OriginalRepliedMessageSid": OTHER,
        "MessagingServiceSid": "MG" + "0" * 32,
        "ChannelMetadata": '{"type":"whatsapp","data":{"context":{"MessageSid":"' + OTHER + '"}}}',
        "MediaUrl0": f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT_SID}/Messages/{SID}/Media/ME1",
        "Some_New-Parameter.1": "x",
    }
    assert check_shape_inbound(whatsapp(**extra), ACCOUNT_SID) is None
    assert check_shape_inbound([*whatsapp(), ("New", "1"), ("New", "2")], ACCOUNT_SID) is None


def test_a_person_may_write_about_sids() -> None:
    assert (
        check_shape_inbound(sms(Body=f"MessageSid: {OTHER} From +1555 AccountSid={ACCOUNT_SID}"), ACCOUNT_SID) is None
    )


def test_statuses_have_the_shape() -> None:
    assert check_shape_status(delivered(), ACCOUNT_SID) is None
    assert check_shape_status([*without(delivered(), "From"), ("From", "")], ACCOUNT_SID) is None
    assert check_shape_status(without(delivered(), "From", "To", "SmsSid"), ACCOUNT_SID) is None


# What it does not send does not pass


@pytest.mark.parametrize("name", ["AccountSid", "MessageSid", "From", "To"])
def test_an_inbound_form_needs_its_names(name: str) -> None:
    assert check_shape_inbound(without(sms(), name), ACCOUNT_SID) == f"{name} is missing"


@pytest.mark.parametrize("name", ["AccountSid", "MessageSid", "MessageStatus"])
def test_a_status_form_needs_its_names(name: str) -> None:
    assert check_shape_status(without(delivered(), name), ACCOUNT_SID) == f"{name} is missing"


def test_another_account_is_refused() -> None:
    assert check_shape_inbound(sms(), "AC" + "9" * 32) == "AccountSid is not this account's"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MessageSid", SID + "\n"),
        ("MessageSid", SID.upper()),
        ("MessageSid", SID + "0"),
        ("From", ""),
        ("From", "+1555\n"),
        ("To", "whatsapp:"),
        ("NumMedia", "abc"),
        ("NumMedia", "٣"),
        ("ApiVersion", "2010-04-01BodyX"),
    ],
)
def test_odd_values_are_refused(name: str, value: str) -> None:
    assert check_shape_inbound(sms(**{name: value}), ACCOUNT_SID) is not None


@pytest.mark.parametrize("name", ["", "?m=1", "/x", "0ab", "a b", "ñ", "x" * 65, "MessageSid\x00"])
def test_odd_names_are_refused(name: str) -> None:
    assert check_shape_inbound([*sms(), (name, "")], ACCOUNT_SID) == "a field's name is not one that Twilio uses"


@pytest.mark.parametrize("name", ["MessageSid", "From", "To", "Body", "AccountSid", "NumMedia", "SmsSid"])
def test_what_is_read_comes_once(name: str) -> None:
    form = sms()
    doubled = [*form, next(pair for pair in form if pair[0] == name)]
    assert canonical(doubled) == canonical(form)
    assert check_shape_inbound(doubled, ACCOUNT_SID) == f"{name} comes twice"


# A captured request in another shape: everything here still carries a valid signature


def test_a_sid_cannot_swallow_its_neighbour() -> None:
    form = whatsapp()
    new = reshaped(form, [("MessageSid", SID), ("MessageType", "text")], [("MessageSid", f"{SID}MessageTypetext")])
    assert check_shape_inbound(new, ACCOUNT_SID) == "MessageSid does not look like one"


def test_a_sender_cannot_hide_in_the_body() -> None:
    form = without(whatsapp(), "FromCity")
    sender = ("From", "whatsapp:+34600000001")
    new = reshaped(form, [("Body", "hola"), sender], [("Body", "holaFromwhatsapp:+34600000001")])
    assert check_shape_inbound(new, ACCOUNT_SID) == "From is missing"


def quoted(form: Form) -> Form:
    """A reply names our message's SID, which no dedup key has seen: here it poses as the message's own."""
    swallowed = f"MessageSid{SID}MessageTypetextNumMedia0NumSegments1OriginalReplied"
    names = {"Latitude", "MessageSid", "MessageType", "NumMedia", "NumSegments", "OriginalRepliedMessageSid"}
    old = [pair for pair in form if pair[0] in names]
    return reshaped(form, old, [("Latitude", f"19.4{swallowed}"), ("MessageSid", OTHER)])


def test_a_quoted_sid_cannot_become_the_messages() -> None:
    form = whatsapp(OriginalRepliedMessageSid=OTHER, Latitude="19.4")
    assert check_shape_inbound(form, ACCOUNT_SID) is None
    assert check_shape_inbound(quoted(form), ACCOUNT_SID) == "MessageSid and its twins disagree"


def test_a_quoted_sid_is_found_out_without_the_twins_too() -> None:
    form = without(whatsapp(OriginalRepliedMessageSid=OTHER, Latitude="19.4"), "SmsSid", "SmsMessageSid")
    assert check_shape_inbound(form, ACCOUNT_SID) is None
    assert check_shape_inbound(quoted(form), ACCOUNT_SID) == "a MessageSid is part of another field"


def test_a_swallowed_sid_is_found() -> None:
    """The person's own text spells a new SID; the true one hides in a field that convoq does not read."""
    spelled = f"hiFrom+15559999999MessageSid{OTHER}N"
    form: Form = [
        ("AccountSid", ACCOUNT_SID),
        ("Body", spelled),
        ("From", "+15551230001"),
        ("MessageSid", SID),
        ("To", "+15557654321"),
    ]
    hidden = f"From+15551230001MessageSid{SID}"
    new = reshaped(
        form,
        form[1:4],
        [("Body", "hi"), ("From", "+15559999999"), ("MessageSid", OTHER), ("N", hidden)],
    )
    assert check_shape_inbound(new, ACCOUNT_SID) == "a MessageSid is part of another field"
    assert check_shape_inbound(form, ACCOUNT_SID) == "a MessageSid is part of another field"


def test_twins_agree() -> None:
    assert check_shape_inbound(sms(SmsSid=OTHER), ACCOUNT_SID) == "MessageSid and its twins disagree"
    assert check_shape_inbound(sms(SmsMessageSid=OTHER), ACCOUNT_SID) == "MessageSid and its twins disagree"


def test_an_account_cannot_move_into_the_path() -> None:
    form = delivered()
    assert check_shape_status(without(form, "AccountSid"), ACCOUNT_SID) is not None
    assert check_shape_status([("?m=1", ""), *form], ACCOUNT_SID) is not None


@pytest.mark.parametrize("form", [whatsapp(OriginalRepliedMessageSid=OTHER), sms(), sms(Body="")])
def test_no_recut_of_a_signed_form_yields_a_new_message(form: Form) -> None:
    """Every way to drop one border between two fields and to move the next one, tried over the whole form."""
    text = canonical(form)
    names = sorted({name for name, _ in form})
    genuine = dict(form)
    accepted = 0
    for first, second in itertools.combinations(range(len(names)), 2):
        for stop in range(second + 1, min(second + 4, len(names) + 1)):
            for cut in ("MessageSid", "From", "To", "Body", "SmsSid", "Sid"):
                recut = _recut(text, genuine, names, first, second, stop, cut)
                if recut is None or canonical(recut) != text:
                    continue
                if check_shape_inbound(recut, ACCOUNT_SID) is None:
                    accepted += 1
                    assert dict(recut)["MessageSid"] == SID
    assert accepted > 0, "some reshapes pass, under the message's own SID"


def _recut(
    text: str, form: dict[str, str], names: list[str], first: int, second: int, stop: int, cut: str
) -> Form | None:
    """Glues the fields between two borders into the first one, then opens the glue at another name."""
    glued = "".join(name + form[name] for name in names[first:stop])
    kept = [(name, form[name]) for name in (*names[:first], *names[stop:])]
    head = names[first]
    position = glued.rfind(cut) if second % 2 else glued.find(cut, len(head))
    if position <= len(head):
        return [*kept, (head, glued[len(head) :])]
    return [*kept, (head, glued[len(head) : position]), (cut, glued[position + len(cut) :])]
