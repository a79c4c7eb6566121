// Package textindex answers in which of many texts a substring is, exactly and without reading most of them. It knows no
// mail: it is given documents (an id, the lines of a header, a body), whose text the caller has folded, and is asked about them by id.
//
// The one idea: each document is cut into units of 8 KiB; for each three bytes that follow one another (a trigram) there is a list of the units
// that have it. A needle can only be in units that all its trigrams name, and those are looked at: the text itself is kept too,
// compressed where that is worth it, so that no message is opened, decoded or folded again. What has no index yet, or cannot be read any more, is answered with
// Unknown, and the caller looks for itself. A wrong answer is never given.
//
// The index is a folder of segments, files that are written once. A segment covers a range of ids and says so: an id of that range that it does
// not have is no document. Small neighbours are merged into larger ones. Nothing is flushed to disk, because nothing here has to survive: every piece that is read
// carries a checksum, and a segment that fails it is removed, as is one of another store, of another version, or of a time after the one that the
// database was set back to (Options.Generation). Ranges without a segment are gaps, which the caller fills again.
//
// Why not SQLite's FTS5: its trigrams either name whole messages (detail=none, twice the time to build), so that the texts and what looks at them are needed beside it
// all the same, or their positions (detail=full), which takes two and a half times the room of the texts. docs/performance.md has the figures.
package textindex
