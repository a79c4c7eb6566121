-- What sorting, threading and searching by the usual fields ask of a message (mime.Keys), and behind a byte for its version the beginning of its text (RFC 8970).
-- Both are worked out when the message is stored. NULL in rows from before: those are filled in the background, the newest first.
ALTER TABLE mail ADD COLUMN keys BLOB;
ALTER TABLE mail ADD COLUMN preview BLOB;

-- Rows of mail up to this blob may have NULL there; 0 when there are none any more.
INSERT INTO counter (name, value) SELECT 'keys', COALESCE(MAX(blob), 0) FROM mail;
