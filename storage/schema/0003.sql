-- Who but its owner may do what with a mailbox (RFC 4314). identifier is an account, or 0 for anyone who is logged in. negative: the rights are
-- taken away from what the other rows give. rights are the bits of storage.Rights. The owner has no rows: all rights are the owner's
-- always. Rows go with their mailbox and with the account that they name.
CREATE TABLE acl (
    mailbox    INTEGER NOT NULL,
    identifier INTEGER NOT NULL,
    negative   INTEGER NOT NULL,
    rights     INTEGER NOT NULL,
    PRIMARY KEY (mailbox, identifier, negative)
) STRICT, WITHOUT ROWID;
CREATE INDEX acl_identifier ON acl (identifier, mailbox);
