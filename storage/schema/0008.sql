-- What is remembered of sessions. A row is where a client of an account was when its last session ended. address is that of the client
-- ("192.0.2.7", or an IPv6 /64) and name what it called itself, "" for nothing. epoch is the account's when the client logged in: a row of
-- another epoch says nothing. folder is a path in the account's tree, type the TYPE of RFC 959 that the client had asked for, "" when it had not; at is Unix
-- seconds. An account has at most 16.
CREATE TABLE visit (
    account INTEGER NOT NULL,
    address TEXT    NOT NULL,
    name    TEXT    NOT NULL,
    epoch   INTEGER NOT NULL,
    folder  TEXT    NOT NULL,
    type    TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (account, address, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX visit_at ON visit (at);

-- The parts of an account are listed latest first.
DROP INDEX partial_account;
CREATE INDEX partial_account ON partial (account, modified);
