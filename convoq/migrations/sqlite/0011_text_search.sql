-- Which message holds which three characters, so that a search in texts reads few messages. Filled behind by housekeeping,
-- through `indexed_through`: nothing on the way of a message writes here. Every hit is held against the message itself.
--   case_sensitive: as the search is; and folding differs between versions of SQLite, which would unsettle deletes.
--   detail=none: which rows, not where in them. content='' and columnsize=0: the text stays where it is.
CREATE VIRTUAL TABLE message_texts USING fts5(
    text, tokenize='trigram case_sensitive 1', content='', detail=none, columnsize=0
);
-- Merged by whoever fills it, a little each time: by itself it would do much at once, while all writers wait.
INSERT INTO message_texts (message_texts, rank) VALUES ('automerge', 0);
CREATE VIRTUAL TABLE message_trigrams USING fts5vocab(message_texts, instance);
CREATE TABLE text_search (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    indexed_through INTEGER NOT NULL,
    -- Texts have been taken out, but the index still holds what they were until it is merged.
    holds_erased INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO text_search (one, indexed_through) VALUES (1, 0);

-- What is indexed of a message. Two characters more: so that its last one begins three as well.
CREATE VIEW searchable_texts (id, text) AS
    SELECT id, body || char(10) || description || char(10) || char(10) FROM messages;
CREATE TRIGGER searchable_text_deleted BEFORE DELETE ON messages
WHEN old.id <= (SELECT indexed_through FROM text_search)
BEGIN
    INSERT INTO message_texts (message_texts, rowid, text)
        SELECT 'delete', id, text FROM searchable_texts WHERE id = old.id;
    UPDATE text_search SET holds_erased = 1;
END;
CREATE TRIGGER searchable_text_replaced BEFORE UPDATE OF body, description ON messages
WHEN old.id <= (SELECT indexed_through FROM text_search)
BEGIN
    INSERT INTO message_texts (message_texts, rowid, text)
        SELECT 'delete', id, text FROM searchable_texts WHERE id = old.id;
    UPDATE text_search SET holds_erased = 1;
END;
CREATE TRIGGER searchable_text_written AFTER UPDATE OF body, description ON messages
WHEN new.id <= (SELECT indexed_through FROM text_search)
BEGIN
    INSERT INTO message_texts (rowid, text) SELECT id, text FROM searchable_texts WHERE id = new.id;
END;
