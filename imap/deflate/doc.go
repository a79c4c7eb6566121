// Package deflate is a connection whose two directions are raw DEFLATE streams (RFC 1951), as IMAP's COMPRESS wants it
// (RFC 4978).
//
// What is read is given out as far as the bits at hand go: a peer may end what it sends with Z_PARTIAL_FLUSH, whose last
// bits stay with the sender, with Z_SYNC_FLUSH or Z_FULL_FLUSH, or with no flush that a decoder could see. The inflaters
// of compress/flate and its relatives wait for the end of a block or for a full buffer, and so for ever.
//
// What is written is compressed and flushed with each Write. The dictionary begins anew with each: a compressor
// has a megabyte of state, which belongs to whoever is compressing and not to who waits.
//
// A connection that waits holds what must be remembered: the last 32 KiB that its peer sent, or less when that was less.
package deflate
