-- oldest code: 21
-- The message that tells the person that an AI answers: where no part of it has left, they have not been told.
-- Deferrable: messages lead back to contacts, and a copy of all tables writes one of them first.
ALTER TABLE contacts ADD COLUMN disclosed_by bigint REFERENCES messages (id) DEFERRABLE;
