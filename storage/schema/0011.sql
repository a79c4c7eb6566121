-- Where mail goes.

-- Groups: addresses with members. local and domain as in address, in which the pair must not be too. members_send is 1 where who is a member may send
-- as the group.
CREATE TABLE mail_group (
    id           INTEGER PRIMARY KEY,
    domain       TEXT    NOT NULL,
    local        TEXT    NOT NULL,
    members_send INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX mail_group_address ON mail_group (domain, local);

-- A member is an address, of ours or of another domain; it need not exist.
CREATE TABLE group_member (
    mail_group INTEGER NOT NULL,
    address    TEXT    NOT NULL,
    PRIMARY KEY (mail_group, address)
) STRICT, WITHOUT ROWID;

-- Who gets the mail for addresses of a domain that nobody has.
CREATE TABLE catchall (
    domain  TEXT PRIMARY KEY,
    address TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- A domain of ours whose addresses are those of another one, beside its own.
CREATE TABLE domain_alias (
    domain TEXT PRIMARY KEY,
    target TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Where an account's mail goes on to. address is the one of its addresses that this is about, "" for all of them; targets are addresses with a space between.
-- keep is 1 where a copy stays.
CREATE TABLE forward (
    account INTEGER NOT NULL,
    address TEXT    NOT NULL,
    targets TEXT    NOT NULL,
    keep    INTEGER NOT NULL,
    PRIMARY KEY (account, address)
) STRICT, WITHOUT ROWID;

-- Accounts' filters (RFC 5228, RFC 5804). Their bytes are charged to the account. At most one of an account is active.
CREATE TABLE sieve_script (
    account  INTEGER NOT NULL,
    name     TEXT    NOT NULL,
    script   BLOB    NOT NULL,
    active   INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    PRIMARY KEY (account, name)
) STRICT, WITHOUT ROWID;

-- What filters remember until when (Unix seconds): to whom a vacation reply was sent, which messages came already. hash says neither.
CREATE TABLE sieve_memory (
    account INTEGER NOT NULL,
    hash    BLOB    NOT NULL,
    until   INTEGER NOT NULL,
    PRIMARY KEY (account, hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX sieve_memory_until ON sieve_memory (account, until);
