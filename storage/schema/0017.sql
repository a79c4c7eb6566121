-- What waits is asked for by domain and by whose it is, so that who sends much keeps nobody waiting. account is outbox.account.
ALTER TABLE outbox_recipient ADD COLUMN account INTEGER NOT NULL DEFAULT 0;
UPDATE outbox_recipient SET account = o.account FROM outbox o WHERE o.id = outbox_recipient.outbox AND o.account <> 0;
DROP INDEX outbox_waiting;
CREATE INDEX outbox_waiting ON outbox_recipient (domain, priority, account, due) WHERE state = 'waiting';
