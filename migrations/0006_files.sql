-- What was uploaded. The bytes lie in the data folder under files/, each
-- content once, by the SHA-256 of it.

-- A content that is on the disk. Its row is written after it was put there,
-- and goes after it was taken away.
CREATE TABLE blobs (
    hash  BLOB    PRIMARY KEY,
    size  INTEGER NOT NULL,             -- bytes
    files INTEGER NOT NULL              -- how many rows of files have it; 0: it may be taken away
) STRICT, WITHOUT ROWID;
CREATE INDEX blobs_free ON blobs (hash) WHERE files = 0;

CREATE TABLE files (
    n        INTEGER PRIMARY KEY,       -- the order of their coming
    id       TEXT    NOT NULL UNIQUE,   -- unguessable: who knows it may read the file
    hash     BLOB    NOT NULL REFERENCES blobs (hash),
    name     TEXT    NOT NULL,
    type     TEXT    NOT NULL,          -- what it is served as
    size     INTEGER NOT NULL,          -- bytes
    uploader TEXT    NOT NULL,          -- 'user:…', 'key:…', 'operator', '' for anybody
    at       INTEGER NOT NULL,          -- ms since 1970 UTC
    loose    INTEGER NOT NULL           -- 1 until an event refers to it
) STRICT;
CREATE INDEX files_hash  ON files (hash);
CREATE INDEX files_loose ON files (at) WHERE loose = 1;

-- Which events refer to a file. What is scheduled has its n, below zero, in
-- place of a seq.
CREATE TABLE file_refs (
    seq  INTEGER NOT NULL,
    file INTEGER NOT NULL REFERENCES files (n),
    PRIMARY KEY (seq, file)
) STRICT, WITHOUT ROWID;
CREATE INDEX file_refs_file ON file_refs (file);

-- A file that is still coming; its bytes are files/incoming/ID.
CREATE TABLE uploads (
    id       TEXT    PRIMARY KEY,       -- becomes the file's
    name     TEXT    NOT NULL,
    declared TEXT    NOT NULL,          -- the type by the word of who sends it
    size     INTEGER NOT NULL,          -- bytes that are to come in all
    offset   INTEGER NOT NULL,          -- bytes that are on the disk
    uploader TEXT    NOT NULL,
    owner    TEXT    NOT NULL,          -- against whom unfinished ones are counted
    at       INTEGER NOT NULL,
    touched  INTEGER NOT NULL           -- when bytes last came
) STRICT, WITHOUT ROWID;
CREATE INDEX uploads_owner   ON uploads (owner);
CREATE INDEX uploads_touched ON uploads (touched);
