-- What an account may do with the files of its tree, by FTP and whatever else shows the tree as paths. rights are the bits of storage.PathRights. The row
-- with the longest path that is a path or leads to it decides; without one everything may be done. path is clean: absolute, NFC.
CREATE TABLE access (
    account INTEGER NOT NULL,
    path    TEXT    NOT NULL,
    rights  INTEGER NOT NULL,
    PRIMARY KEY (account, path)
) STRICT, WITHOUT ROWID;

-- The folder that those who come by path see as "/". Accounts without a row see all of their tree.
CREATE TABLE jail (
    account INTEGER PRIMARY KEY,
    path    TEXT    NOT NULL
) STRICT;
