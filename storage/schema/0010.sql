-- The queue. What is sent or has failed for good is gone: its recipients' rows are removed in the transaction that enters its notices.

-- queue is the id that the 250 named, which several rows may share. last is the id of the message's last recipient: its recipients have the ids from outbox.id + 1 to
-- last, so that no index finds them. deadline and by_mode are DELIVERBY (RFC 2852), 0 and "" for none. seal is 1 for what is forwarded.
ALTER TABLE outbox ADD COLUMN queue TEXT NOT NULL DEFAULT '';
ALTER TABLE outbox ADD COLUMN utf8 INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN require_tls INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN by_mode TEXT NOT NULL DEFAULT '';
ALTER TABLE outbox ADD COLUMN deadline INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN seal INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN last INTEGER NOT NULL DEFAULT 0;
UPDATE outbox SET last = (SELECT COALESCE(MAX(r.id), outbox.id) FROM outbox_recipient r WHERE r.outbox = outbox.id);

-- priority is MT-PRIORITY (RFC 6710), the same for all recipients of a message. status, remote and reply are those of the last attempt, at tried; history has a line for each of the
-- last ones. delayed is 1 when the sender was told of the delay. verdict is not "" for what is to fail without another attempt: why.
ALTER TABLE outbox_recipient ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox_recipient ADD COLUMN status TEXT NOT NULL DEFAULT '';
ALTER TABLE outbox_recipient ADD COLUMN remote TEXT NOT NULL DEFAULT '';
ALTER TABLE outbox_recipient ADD COLUMN tried INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox_recipient ADD COLUMN delayed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox_recipient ADD COLUMN history TEXT NOT NULL DEFAULT '';
ALTER TABLE outbox_recipient ADD COLUMN verdict TEXT NOT NULL DEFAULT '';

-- What waits is asked for by domain; which domains have something due is known in memory.
DROP INDEX outbox_recipient_due;
DROP INDEX outbox_recipient_outbox;
CREATE INDEX outbox_waiting ON outbox_recipient (domain, priority, due) WHERE state = 'waiting';
CREATE INDEX outbox_leased ON outbox_recipient (lease) WHERE state = 'leased';

-- Addresses that no mail is sent to (manual or bounces reached the limit: suppressed = 1), and those that are on their way there. address has its local part in lower case.
CREATE TABLE suppression (
    address    TEXT    PRIMARY KEY,
    manual     INTEGER NOT NULL,
    suppressed INTEGER NOT NULL,
    bounces    INTEGER NOT NULL,
    since      INTEGER NOT NULL,
    last       INTEGER NOT NULL,
    reason     TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- What the webhook is told, until it has taken it. A row enters with the transaction that it tells of. at is Unix milliseconds; due Unix seconds.
CREATE TABLE webhook_event (
    id       INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL,
    kind     TEXT    NOT NULL,
    queue    TEXT    NOT NULL,
    body     BLOB    NOT NULL,
    due      INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    reply    TEXT    NOT NULL
) STRICT;
CREATE INDEX webhook_event_due ON webhook_event (due, id);
CREATE INDEX webhook_event_again ON webhook_event (queue, id) WHERE attempts > 0;
