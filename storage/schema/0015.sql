-- What accounts sent, in slots of five minutes (Unix seconds / 300), of the last day: the windows slide over them. The windows of sending, which began with a message, are not used
-- any more; what they had counted is kept in the slots that they began in. redirects: what an account's filter sent on to other domains, and its replies of vacation.
CREATE TABLE sending_slot (
    account    INTEGER NOT NULL,
    slot       INTEGER NOT NULL,
    messages   INTEGER NOT NULL DEFAULT 0,
    recipients INTEGER NOT NULL DEFAULT 0,
    redirects  INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (account, slot)
) STRICT, WITHOUT ROWID;
INSERT INTO sending_slot (account, slot, messages, recipients)
    SELECT account, day_began / 300, MAX(day_messages - hour_messages, 0), MAX(day_recipients - hour_recipients, 0) FROM sending WHERE day_began > 0;
INSERT INTO sending_slot (account, slot, messages, recipients)
    SELECT account, hour_began / 300, hour_messages, hour_recipients FROM sending WHERE hour_began > 0
    ON CONFLICT (account, slot) DO UPDATE SET messages = messages + excluded.messages, recipients = recipients + excluded.recipients;
UPDATE sending SET hour_began = 0, hour_messages = 0, hour_recipients = 0, day_began = 0, day_messages = 0, day_recipients = 0;
