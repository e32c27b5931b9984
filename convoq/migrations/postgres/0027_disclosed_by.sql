-- oldest code: 21
-- The message that tells the person that an AI answers: where no part of it has left, they have not been told.
ALTER TABLE contacts ADD COLUMN disclosed_by bigint REFERENCES messages (id);
