-- Keys that mail of our domains is signed with. state: 'next' is to be published in the DNS before it signs, 'active' signs, 'retired' signs no
-- more (its private half is gone) but stays published for those who verify what it signed. created, seen (when the DNS first showed it; 0: not yet) and
-- changed (when it came into this state) are Unix seconds. private is PKCS #8 DER, public what p= of the record holds, before base64.
CREATE TABLE dkim_key (
    domain    TEXT    NOT NULL,
    selector  TEXT    NOT NULL,
    algorithm TEXT    NOT NULL,
    state     TEXT    NOT NULL,
    private   BLOB    NOT NULL,
    public    BLOB    NOT NULL,
    created   INTEGER NOT NULL,
    seen      INTEGER NOT NULL,
    changed   INTEGER NOT NULL,
    PRIMARY KEY (domain, selector)
) STRICT, WITHOUT ROWID;

-- MTA-STS policies of other domains (RFC 8461). fetched is when the text was last confirmed, expires when it may no longer be used, tried when it was
-- last asked for, used when mail was last sent by it. body '' with expires 0: there was none to fetch.
CREATE TABLE sts_policy (
    domain  TEXT    NOT NULL,
    id      TEXT    NOT NULL,
    body    TEXT    NOT NULL,
    fetched INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    tried   INTEGER NOT NULL,
    used    INTEGER NOT NULL,
    PRIMARY KEY (domain)
) STRICT, WITHOUT ROWID;

-- What happened with TLS on the way to other domains, counted for their reports (RFC 8460). day is in days since 1970 (UTC), policy the JSON of the policy
-- that was in force, failure '' for successes, else the JSON of what went wrong.
CREATE TABLE tls_result (
    day     INTEGER NOT NULL,
    domain  TEXT    NOT NULL,
    policy  TEXT    NOT NULL,
    failure TEXT    NOT NULL,
    count   INTEGER NOT NULL,
    PRIMARY KEY (day, domain, policy, failure)
) STRICT, WITHOUT ROWID;
