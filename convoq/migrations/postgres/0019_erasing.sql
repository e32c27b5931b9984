-- oldest code: 18
-- A person who was erased: the row stays for what refers to it, without a name, and its address is a keyed hash. By that
-- a STOP holds on, and what was accepted before the erasure is known when it comes late.
ALTER TABLE contacts ADD COLUMN erased_at bigint;
-- Something of theirs may still be left.
ALTER TABLE contacts ADD COLUMN erasing bigint NOT NULL DEFAULT 0;
CREATE INDEX contacts_erasing ON contacts (id) WHERE erasing = 1;
CREATE INDEX contacts_erased ON contacts (erased_at) WHERE erased_at IS NOT NULL;
-- The key of those hashes, once there is one.
CREATE TABLE erasure_key (
    one bigint PRIMARY KEY CHECK (one = 1),
    key text COLLATE "C" NOT NULL
);

CREATE INDEX audit_of_conversation ON audit (conversation_id) WHERE conversation_id IS NOT NULL;
CREATE INDEX audit_of_subject ON audit (subject) WHERE subject IS NOT NULL;
