-- How many rows of node and partial an account has: kept, never counted. They change in the transaction that changes it.
ALTER TABLE account ADD COLUMN entries INTEGER NOT NULL DEFAULT 0;
UPDATE account SET entries = c.n FROM (SELECT x.account, COUNT(*) AS n FROM (SELECT account FROM node UNION ALL SELECT account FROM partial) x GROUP BY x.account) c
    WHERE c.account = account.id;
