-- oldest code: 21
-- An operator's own phone, from which texts to a number of ours are commands. Where and when they last wrote one, by the
-- wall clock: WhatsApp lets them be written to for a day since.
ALTER TABLE operators ADD COLUMN phone text COLLATE "C";
ALTER TABLE operators ADD COLUMN heard_on text COLLATE "C";
ALTER TABLE operators ADD COLUMN heard_wall bigint;
CREATE UNIQUE INDEX operators_phone ON operators (phone) WHERE phone IS NOT NULL;
-- What one target was told of late.
CREATE INDEX notifications_to ON notifications (target, id);
