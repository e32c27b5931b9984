-- What workers have written into a queue on Redis, to know it again: newest last, and the newest stands in that queue. A
-- queue whose mark is not here has worked for another database since: a second installation's, or a copy of this one.
CREATE TABLE queue_marks (
    id INTEGER PRIMARY KEY,
    mark TEXT NOT NULL UNIQUE
) STRICT;
