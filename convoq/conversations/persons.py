"""A person is who has one phone number: by WhatsApp and by SMS, one contact each.

What bounds or stops a person holds for all of their contacts. An opt-out is of one channel: Twilio keeps it for each by
itself, and a START on one takes nothing back on the other.
"""

from __future__ import annotations

from typing import Final

#: A contact without a number (a WhatsApp user who hides it, another channel's, one that was erased) is a person alone.
OF_PERSON: Final = """
    SELECT q.id FROM contacts AS p JOIN contacts AS q ON q.channel = p.channel AND q.address IN (
        replace(p.address, 'whatsapp:+', '+'), 'whatsapp:' || replace(p.address, 'whatsapp:+', '+'))
    WHERE p.id = ?
"""
