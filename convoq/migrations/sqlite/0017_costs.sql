-- What each request to a model costs: in tokens, and in millionths of the currency (NULL: its price was not known).
ALTER TABLE model_calls ADD COLUMN cached_tokens INTEGER NOT NULL DEFAULT 0;
-- Tokens that it may have written, and be billed for, without our having got them.
ALTER TABLE model_calls ADD COLUMN unheard_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE model_calls ADD COLUMN cost INTEGER;
ALTER TABLE model_calls ADD COLUMN currency TEXT;
-- In the zone of the budgets; '' of what is older than this column.
ALTER TABLE model_calls ADD COLUMN day TEXT NOT NULL DEFAULT '';
-- While it is under way (outcome 'pending'): what it may cost at most, and where that is held, as lines of period and scope.
ALTER TABLE model_calls ADD COLUMN held_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE model_calls ADD COLUMN held_cost INTEGER NOT NULL DEFAULT 0;
ALTER TABLE model_calls ADD COLUMN held_in TEXT;
CREATE INDEX model_calls_by_time ON model_calls (at);
CREATE INDEX model_calls_pending ON model_calls (conversation_id) WHERE outcome = 'pending';

-- What each ceiling's scope ('contact:ID', 'number:ADDRESS' of ours) has cost in a period ('2026-11-26', '2026-11'), and
-- what is held for requests under way. `refused`: the next one did not fit.
CREATE TABLE spending (
    period TEXT NOT NULL,
    scope TEXT NOT NULL,
    currency TEXT NOT NULL,
    tokens INTEGER NOT NULL DEFAULT 0,
    tokens_held INTEGER NOT NULL DEFAULT 0,
    cost INTEGER NOT NULL DEFAULT 0,
    cost_held INTEGER NOT NULL DEFAULT 0,
    refused INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (period, scope, currency)
) STRICT, WITHOUT ROWID;
CREATE INDEX spending_refused ON spending (period, scope) WHERE refused = 1;
