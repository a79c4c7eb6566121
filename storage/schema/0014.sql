-- What accounts may send. A row is there when an account has limits of its own, or once something was counted. The limits: 0 the configuration's, -1 none,
-- -2 nothing may be sent. The windows begin (Unix seconds) with the first message after the one before it was over.
CREATE TABLE sending (
    account             INTEGER PRIMARY KEY,
    messages_per_hour   INTEGER NOT NULL DEFAULT 0,
    recipients_per_hour INTEGER NOT NULL DEFAULT 0,
    messages_per_day    INTEGER NOT NULL DEFAULT 0,
    recipients_per_day  INTEGER NOT NULL DEFAULT 0,
    hour_began          INTEGER NOT NULL DEFAULT 0,
    hour_messages       INTEGER NOT NULL DEFAULT 0,
    hour_recipients     INTEGER NOT NULL DEFAULT 0,
    day_began           INTEGER NOT NULL DEFAULT 0,
    day_messages        INTEGER NOT NULL DEFAULT 0,
    day_recipients      INTEGER NOT NULL DEFAULT 0
) STRICT;
