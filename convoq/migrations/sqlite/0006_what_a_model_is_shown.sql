-- A conversation's lines as a model is shown them, without what waits or got no answer that it could continue: of those
-- there may be ten thousand, and each turn would walk past all of them. (Not IN: SQLite would build a table of the words
-- for every row that is written.)
CREATE INDEX messages_shown ON messages (conversation_id, id) WHERE direction = 'out'
    OR (outcome <> 'failed' AND outcome <> 'cancelled' AND outcome <> 'opted_out' AND outcome <> 'blocked');
