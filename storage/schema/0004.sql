-- What clients keep about a mailbox, or about the server as a whole (mailbox 0): RFC 5464. viewer is whose a private entry is, 0 for a
-- shared one. name is lowercase, the whole entry. value is NULL of one that was removed: the row stays for a while, so that
-- others can be told. seq grows with every change. account is whom the bytes are counted for: the viewer, the mailbox's owner, or 0 (the server).
-- Rows go with their mailbox, private ones also with their viewer.
CREATE TABLE annotation (
    mailbox INTEGER NOT NULL,
    viewer  INTEGER NOT NULL,
    name    TEXT    NOT NULL,
    value   BLOB,
    seq     INTEGER NOT NULL,
    account INTEGER NOT NULL,
    PRIMARY KEY (mailbox, viewer, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX annotation_seq ON annotation (seq);
CREATE INDEX annotation_account ON annotation (account);

-- How many messages an account may have: 0 is no limit, -1 is none at all.
ALTER TABLE account ADD COLUMN message_quota INTEGER NOT NULL DEFAULT 0;
