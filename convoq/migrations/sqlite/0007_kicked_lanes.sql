-- It was to be due at once while a claim held it: whatever that claim goes back with, it does not wait.
ALTER TABLE lanes ADD COLUMN kicked INTEGER NOT NULL DEFAULT 0;
