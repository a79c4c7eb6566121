-- The account store. Times are Unix seconds, sizes bytes, truth values 0 or 1. Ids of every kind come from one
-- counter and are never given twice. Everything that one method of package storage does is one transaction, so a crash
-- leaves either all of it or nothing; what a crash can leave beside that is said at each table.

-- The last id that was given ('id').
CREATE TABLE counter (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Whose mail and files they are. bytes, messages and files are kept, never counted: they change in the transaction
-- that changes what they count. modseq grows with every change in any of the account's mailboxes (RFC 7162), so that it is
-- monotonic over all of them. uidvalidity is the last one given to a mailbox.
CREATE TABLE account (
    id          INTEGER PRIMARY KEY,
    name        TEXT    NOT NULL UNIQUE,
    admin       INTEGER NOT NULL,
    disabled    INTEGER NOT NULL,
    quota       INTEGER NOT NULL,
    epoch       INTEGER NOT NULL,
    created     INTEGER NOT NULL,
    home        INTEGER NOT NULL,
    mail        INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,
    messages    INTEGER NOT NULL,
    files       INTEGER NOT NULL,
    modseq      INTEGER NOT NULL,
    uidvalidity INTEGER NOT NULL
) STRICT;

-- Domains whose mail we take.
CREATE TABLE domain (
    name       TEXT PRIMARY KEY,
    is_default INTEGER NOT NULL,
    id         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Where mail goes. local is lowercase and NFC, domain lowercase A-labels. position 0 is the account's name.
CREATE TABLE address (
    domain   TEXT    NOT NULL,
    local    TEXT    NOT NULL,
    account  INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (domain, local)
) STRICT, WITHOUT ROWID;
CREATE INDEX address_account ON address (account);

-- What proves an account; the secret is opaque here.
CREATE TABLE credential (
    account INTEGER NOT NULL,
    kind    TEXT    NOT NULL,
    secret  TEXT    NOT NULL,
    PRIMARY KEY (account, kind)
) STRICT, WITHOUT ROWID;

-- An entry of an account's tree. kind: 1 folder, 2 mailbox, 3 file, 4 a name below /Mail that holds mailboxes but no
-- messages. parent is NULL for home. Messages have their own table. blob is 0 for the empty file.
CREATE TABLE node (
    id       INTEGER PRIMARY KEY,
    account  INTEGER NOT NULL,
    parent   INTEGER,
    kind     INTEGER NOT NULL,
    name     TEXT    NOT NULL,
    size     INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    created  INTEGER NOT NULL,
    mode     INTEGER NOT NULL,
    blob     INTEGER NOT NULL,
    modseq   INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX node_name ON node (parent, name);

-- A name below /Mail with its counters, which are kept, never counted. id is the node's. name is the whole path. Tombstones of
-- changes up to modseq floor are gone; tombs is how many there are.
CREATE TABLE mailbox (
    id            INTEGER PRIMARY KEY,
    account       INTEGER NOT NULL,
    name          TEXT    NOT NULL,
    noselect      INTEGER NOT NULL,
    role          TEXT    NOT NULL,
    uidvalidity   INTEGER NOT NULL,
    uidnext       INTEGER NOT NULL,
    highestmodseq INTEGER NOT NULL,
    messages      INTEGER NOT NULL,
    unseen        INTEGER NOT NULL,
    deleted       INTEGER NOT NULL,
    size          INTEGER NOT NULL,
    floor         INTEGER NOT NULL,
    tombs         INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX mailbox_name ON mailbox (account, name);

-- The greatest UIDVALIDITY that a mailbox of this name had when the name was given up, so that a mailbox which gets the name
-- by RENAME has a greater one (RFC 9051 section 2.3.1.1).
CREATE TABLE retired (
    account     INTEGER NOT NULL,
    name        TEXT    NOT NULL,
    uidvalidity INTEGER NOT NULL,
    PRIMARY KEY (account, name)
) STRICT, WITHOUT ROWID;

-- Names subscribed to, existing or not.
CREATE TABLE subscription (
    account INTEGER NOT NULL,
    name    TEXT    NOT NULL,
    PRIMARY KEY (account, name)
) STRICT, WITHOUT ROWID;

-- The keywords of a mailbox: bit n of message.keywords is the one with bit = n, 0 to 63.
CREATE TABLE keyword (
    mailbox INTEGER NOT NULL,
    bit     INTEGER NOT NULL,
    name    TEXT    NOT NULL,
    PRIMARY KEY (mailbox, bit)
) STRICT, WITHOUT ROWID;

-- Messages in mailboxes. Each row holds one reference to its blob. id is unique and for ever; a move keeps it, a copy has another.
-- Rows of a mailbox that is no more are listed in purge and removed by the sweeper.
CREATE TABLE message (
    mailbox       INTEGER NOT NULL,
    uid           INTEGER NOT NULL,
    flags         INTEGER NOT NULL,
    keywords      INTEGER NOT NULL,
    size          INTEGER NOT NULL,
    internal_date INTEGER NOT NULL, -- Unix seconds
    zone          INTEGER NOT NULL, -- of internal_date as it was given: minutes east of UTC
    save_date     INTEGER NOT NULL,
    modseq        INTEGER NOT NULL,
    blob          INTEGER NOT NULL,
    id            INTEGER NOT NULL,
    PRIMARY KEY (mailbox, uid)
) STRICT, WITHOUT ROWID;

-- Tombstones: the UIDs that went, as ranges (QRESYNC, RFC 7162 section 3.2).
CREATE TABLE expunged (
    mailbox INTEGER NOT NULL,
    modseq  INTEGER NOT NULL,
    first   INTEGER NOT NULL,
    last    INTEGER NOT NULL,
    PRIMARY KEY (mailbox, modseq, first)
) STRICT, WITHOUT ROWID;

-- Bytes. A small one is the row: head and data together. A large one is the file that key names in the blob store, durable before its row.
-- head is the header block of a message, for large ones as well when it has at most 64 KiB. A crash leaves at worst a
-- file without a row, which the sweeper removes, never a row without its file.
CREATE TABLE blob (
    id   INTEGER PRIMARY KEY,
    key  TEXT,
    size INTEGER NOT NULL,
    hash BLOB    NOT NULL,
    head BLOB,
    data BLOB
) STRICT;
CREATE UNIQUE INDEX blob_key ON blob (key) WHERE key IS NOT NULL;

-- References to a blob beyond the first. A blob that only one row refers to, as most, has no row here.
CREATE TABLE blob_shared (
    blob INTEGER PRIMARY KEY,
    more INTEGER NOT NULL
) STRICT;

-- Blobs that nothing refers to any more, and since when. The sweeper removes them after a while, so that a session which shows
-- a message that another one expunged can still read it.
CREATE TABLE garbage (
    blob  INTEGER PRIMARY KEY,
    since INTEGER NOT NULL
) STRICT;

-- What was parsed of a message when it was stored: ENVELOPE and BODYSTRUCTURE as IMAP writes them and the index of its parts.
-- One for each blob that is a message; copies share it.
CREATE TABLE mail (
    blob      INTEGER PRIMARY KEY,
    envelope  BLOB NOT NULL,
    structure BLOB NOT NULL,
    parts     BLOB NOT NULL
) STRICT;

-- Trees that nobody can reach any more and whose rows the sweeper removes in small steps. kind: 1 messages of a mailbox, 2 a node with all below it.
CREATE TABLE purge (
    id   INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    PRIMARY KEY (id, kind)
) STRICT, WITHOUT ROWID;

-- Cut uploads that can be resumed. Each holds a reference to its blob and is charged to the quota.
CREATE TABLE partial (
    parent   INTEGER NOT NULL,
    name     TEXT    NOT NULL,
    account  INTEGER NOT NULL,
    blob     INTEGER NOT NULL,
    size     INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    PRIMARY KEY (parent, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX partial_account ON partial (account);

-- Mail that must leave. The row and its recipients hold one reference to the blob, until no recipient is waiting.
CREATE TABLE outbox (
    id          INTEGER PRIMARY KEY,
    account     INTEGER NOT NULL,
    sender      TEXT    NOT NULL,
    envelope_id TEXT    NOT NULL,
    ret         TEXT    NOT NULL,
    blob        INTEGER NOT NULL,
    size        INTEGER NOT NULL,
    created     INTEGER NOT NULL
) STRICT;

-- A recipient of it. state: 'waiting' until due; 'leased' to a worker (owner) until lease, after which it is waiting again, which
-- is what a crash of the worker leaves; 'held' by an administrator. What is sent or has failed for good has its notices
-- enqueued and its row removed in one transaction.
CREATE TABLE outbox_recipient (
    id       INTEGER PRIMARY KEY,
    outbox   INTEGER NOT NULL,
    address  TEXT    NOT NULL,
    domain   TEXT    NOT NULL,
    notify   TEXT    NOT NULL,
    original TEXT    NOT NULL,
    state    TEXT    NOT NULL,
    due      INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    owner    TEXT    NOT NULL,
    lease    INTEGER NOT NULL,
    reply    TEXT    NOT NULL
) STRICT;
CREATE INDEX outbox_recipient_due ON outbox_recipient (state, due);
CREATE INDEX outbox_recipient_outbox ON outbox_recipient (outbox);

-- What happened and is over; at is in Unix milliseconds. Written with the next transaction of whatever kind; a crash loses the last moment's.
CREATE TABLE journal (
    id      INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    kind    TEXT    NOT NULL,
    account INTEGER NOT NULL,
    subject TEXT    NOT NULL,
    detail  BLOB    NOT NULL
) STRICT;
CREATE INDEX journal_kind ON journal (kind, id);
CREATE INDEX journal_account ON journal (account, id);
