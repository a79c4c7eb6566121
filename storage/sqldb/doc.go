// Package sqldb opens the database that package storage keeps its rows in:
// locking, connections, migrations, prepared statements and what the database's
// errors mean. It knows no mail.
//
// There is one text of SQL. It is written in the words of SQLite, with "?" for
// arguments, and uses nothing that PostgreSQL has not got as well; a dialect
// rewrites the few words that differ when a statement is prepared.
//
// One connection writes (Writer, used by one goroutine); a pool of connections
// reads. With SQLite's write-ahead log a reader sees the last commit before it
// began and never waits for the writer. Walks over many rows (Scan) have
// connections of their own that leave database/sql out.
package sqldb
