-- A part that is sent again is a row of its own, with a reference of its own: what the channel says of one is not said of
-- the other. `arrived`: the channel has said so once, whatever it said before or since.
ALTER TABLE outbox ADD COLUMN resend_of INTEGER REFERENCES outbox (id);
ALTER TABLE outbox ADD COLUMN arrived INTEGER NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX outbox_resends ON outbox (resend_of) WHERE resend_of IS NOT NULL;
