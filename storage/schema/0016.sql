-- What was found of mail of other servers, counted for the reports of DMARC (RFC 7489 section 7.2). day is in days since 1970 (UTC), domain the one whose policy
-- applied, result the JSON of a record of a report ('' for what had no room), count the messages, and reports those of them that were reports themselves.
CREATE TABLE dmarc_result (
    day     INTEGER NOT NULL,
    domain  TEXT    NOT NULL,
    result  TEXT    NOT NULL,
    count   INTEGER NOT NULL,
    reports INTEGER NOT NULL,
    PRIMARY KEY (day, domain, result)
) STRICT, WITHOUT ROWID;
-- The policy that was in force last, as JSON.
CREATE TABLE dmarc_policy (
    day    INTEGER NOT NULL,
    domain TEXT    NOT NULL,
    policy TEXT    NOT NULL,
    PRIMARY KEY (day, domain)
) STRICT, WITHOUT ROWID;
-- Reports of days that were not over yet: until (Unix seconds) is how far they reach. kind is 'tls' or 'dmarc'.
CREATE TABLE report_sent (
    kind   TEXT    NOT NULL,
    day    INTEGER NOT NULL,
    domain TEXT    NOT NULL,
    until  INTEGER NOT NULL,
    PRIMARY KEY (kind, day, domain)
) STRICT, WITHOUT ROWID;
