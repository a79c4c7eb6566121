-- What proves an account beside its password: tokens that we issued ('token') and certificates of clients ('certificate').
-- name is unique for its account and kind. hash is the SHA-256 of the token, or of the certificate (DER); nothing here is a secret that
-- could be sent. scopes are words of protocols with a space between, "" for all. expires 0 is never. used is when it was last used, to
-- the minute and not of the last moment before a crash; 0 is never.
CREATE TABLE pass (
    id      INTEGER PRIMARY KEY,
    account INTEGER NOT NULL,
    kind    TEXT    NOT NULL,
    name    TEXT    NOT NULL,
    hash    BLOB    NOT NULL,
    scopes  TEXT    NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    used    INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX pass_name ON pass (account, kind, name);
CREATE UNIQUE INDEX pass_hash ON pass (kind, hash);
