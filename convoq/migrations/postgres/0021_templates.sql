-- oldest code: 21
-- What Twilio's Content API has of us, as of the last sync: messages that WhatsApp takes outside its 24 hours.
CREATE TABLE templates (
    sid text COLLATE "C" PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    language text COLLATE "C" NOT NULL,
    kind text NOT NULL,
    body text NOT NULL,
    variables text NOT NULL,
    category text NOT NULL,
    approval text NOT NULL,
    reason text NOT NULL,
    synced_wall bigint NOT NULL
);
CREATE INDEX templates_name ON templates (name);
-- A part that is sent as a template: its body is what the person reads.
ALTER TABLE outbox ADD COLUMN template_sid text;
ALTER TABLE outbox ADD COLUMN template_variables text;
