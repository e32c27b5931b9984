-- oldest code: 18
-- Through which message texts were taken out because their time was over.
CREATE TABLE retention (
    one bigint PRIMARY KEY CHECK (one = 1),
    texts_through bigint NOT NULL
);
