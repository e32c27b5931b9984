-- What Twilio's Content API has of us, as of the last sync: messages that WhatsApp takes outside its 24 hours.
CREATE TABLE templates (
    sid TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    language TEXT NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    variables TEXT NOT NULL,
    category TEXT NOT NULL,
    approval TEXT NOT NULL,
    reason TEXT NOT NULL,
    synced_wall INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX templates_name ON templates (name);
-- A part that is sent as a template: its body is what the person reads.
ALTER TABLE outbox ADD COLUMN template_sid TEXT;
ALTER TABLE outbox ADD COLUMN template_variables TEXT;
