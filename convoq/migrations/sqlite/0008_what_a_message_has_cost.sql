-- Over all attempts at an answer to it: requests that a provider may charge for, and tokens that models wrote for them.
ALTER TABLE messages ADD COLUMN requests INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN output_tokens INTEGER NOT NULL DEFAULT 0;
