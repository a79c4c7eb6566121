-- Host folders in accounts' trees. node is the empty folder at path, on which the host folder lies: as long as the row is there it is neither moved nor
-- removed. host is an absolute path without links. readonly is 1 where nothing may be changed.
CREATE TABLE mount (
    id       INTEGER PRIMARY KEY,
    account  INTEGER NOT NULL,
    node     INTEGER NOT NULL UNIQUE,
    path     TEXT    NOT NULL,
    host     TEXT    NOT NULL,
    readonly INTEGER NOT NULL,
    created  INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX mount_path ON mount (account, path);

-- Folders on mounts in which an upload began: there are, or were, hidden files that the sweep looks for. path is the folder's on the host, below the mount.
CREATE TABLE mount_folder (
    mount INTEGER NOT NULL,
    path  BLOB    NOT NULL,
    PRIMARY KEY (mount, path)
) STRICT, WITHOUT ROWID;

-- Files on mounts of which a cut upload left a part. path is the file's below the mount, as the tree has it. A hint for lists: the part itself is a hidden file.
CREATE TABLE mount_part (
    mount INTEGER NOT NULL,
    path  TEXT    NOT NULL,
    PRIMARY KEY (mount, path)
) STRICT, WITHOUT ROWID;
