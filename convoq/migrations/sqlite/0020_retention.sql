-- Through which message texts were taken out because their time was over.
CREATE TABLE retention (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    texts_through INTEGER NOT NULL
) STRICT;
