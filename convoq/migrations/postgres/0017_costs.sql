-- oldest code: 15
-- What each request to a model costs: in tokens, and in millionths of the currency (NULL: its price was not known).
ALTER TABLE model_calls ADD COLUMN cached_tokens bigint NOT NULL DEFAULT 0;
-- Tokens that it may have written, and be billed for, without our having got them.
ALTER TABLE model_calls ADD COLUMN unheard_tokens bigint NOT NULL DEFAULT 0;
ALTER TABLE model_calls ADD COLUMN cost bigint;
ALTER TABLE model_calls ADD COLUMN currency text COLLATE "C";
-- In the zone of the budgets; '' of what is older than this column.
ALTER TABLE model_calls ADD COLUMN day text COLLATE "C" NOT NULL DEFAULT '';
-- While it is under way (outcome 'pending'): what it may cost at most, and where that is held, as lines of period and scope.
ALTER TABLE model_calls ADD COLUMN held_tokens bigint NOT NULL DEFAULT 0;
ALTER TABLE model_calls ADD COLUMN held_cost bigint NOT NULL DEFAULT 0;
ALTER TABLE model_calls ADD COLUMN held_in text COLLATE "C";
CREATE INDEX model_calls_by_time ON model_calls (at);
CREATE INDEX model_calls_pending ON model_calls (conversation_id) WHERE outcome = 'pending';

-- What each ceiling's scope ('contact:ID', 'number:ADDRESS' of ours) has cost in a period ('2026-11-26', '2026-11'), and
-- what is held for requests under way. `refused`: the next one did not fit.
CREATE TABLE spending (
    period text COLLATE "C" NOT NULL,
    scope text COLLATE "C" NOT NULL,
    currency text COLLATE "C" NOT NULL,
    tokens bigint NOT NULL DEFAULT 0,
    tokens_held bigint NOT NULL DEFAULT 0,
    cost bigint NOT NULL DEFAULT 0,
    cost_held bigint NOT NULL DEFAULT 0,
    refused bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (period, scope, currency)
);
CREATE INDEX spending_refused ON spending (period, scope) WHERE refused = 1;
