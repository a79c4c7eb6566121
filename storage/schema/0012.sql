-- Judging what comes. verdict: what was found of a message when it came in, as JSON; NULL for what was not judged.
ALTER TABLE mail ADD COLUMN verdict BLOB;

-- What was seen before, for greylisting and for senders that are known: kind says of what (storage/seen.go), until is when the row
-- goes. Rows that are lost cost a sender a delay, and nothing else.
CREATE TABLE seen (
    kind  INTEGER NOT NULL,
    name  TEXT    NOT NULL,
    first INTEGER NOT NULL,
    until INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX seen_until ON seen (until);
