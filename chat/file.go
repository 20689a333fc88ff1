package chat

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"path"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// File is an uploaded file, as it is kept.
type File struct {
	N        int64    // the order of their coming
	ID       string   // unguessable: who knows it may read the file
	Hash     [32]byte // SHA-256 of the content
	Name     string   // as CleanFileName leaves it
	Type     string   // the media type that it is served as
	Size     int64    // bytes
	Uploader string   // "user:ID", "key:ID", "operator", or "" for anybody in open mode
	At       int64    // when it was complete, ms since 1970 UTC
	Refs     int      // how many events refer to it
}

// Upload is a file that is still coming.
type Upload struct {
	ID       string // the file's, when it is complete
	Name     string // as CleanFileName leaves it
	Declared string // the media type by the word of who sends it
	Size     int64  // bytes that are to come in all
	Offset   int64  // bytes that are on the disk
	Uploader string // as in File
	Owner    string // against whom unfinished uploads are counted
	At       int64  // when it began, ms since 1970 UTC
}

// UploadLimits bound what one Owner may have unfinished. 0 is no limit.
type UploadLimits struct {
	Count int   // uploads
	Bytes int64 // of what is still to come
}

// FileQuery selects files, the newest first.
type FileQuery struct {
	Before int64 // only those with a smaller N; 0 is no bound
	Limit  int   // at most this many; 0 means 50
}

// FileTotals are what all files together take.
type FileTotals struct {
	Files       int64 // files
	Bytes       int64 // on the disk, each content once
	Quota       int64 // bytes that there may be, unfinished uploads included
	Uploads     int64 // unfinished uploads
	UploadBytes int64 // bytes that they are to have
}

const (
	// FileGrace is how long a file is kept that no event refers to, and an
	// upload to which nothing is added.
	FileGrace = 24 * time.Hour

	fileIDLength = 26
	maxFileName  = 255 // bytes, what file systems take
)

// NewFileID makes an id of 130 random bits.
func NewFileID() string { return strings.ToLower(rand.Text()) }

// ValidFileID reports whether id may be one of NewFileID.
func ValidFileID(id string) bool {
	if len(id) != fileIDLength {
		return false
	}
	for i := range len(id) {
		if c := id[i]; (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}

var fileMember = []byte(`"file"`)

// FileRefs returns the ids of the files that an event with this body refers
// to: those of file.id and file.thumb, whatever its kind is. Of a body that
// has none it takes one look.
func FileRefs(body []byte) (ids []string) {
	if !bytes.Contains(body, fileMember) {
		return nil
	}
	var b struct {
		File struct{ ID, Thumb any }
	}
	_ = json.Unmarshal(body, &b) // what is of another form refers to nothing
	for _, v := range []any{b.File.ID, b.File.Thumb} {
		if id, ok := v.(string); ok && ValidFileID(id) && (len(ids) == 0 || ids[0] != id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// CleanFileName makes a name that can be shown and saved of one that a client
// sent: without folders, control characters and what turns the direction of
// writing, at most 255 bytes, with its extension kept.
func CleanFileName(name string) string {
	name = strings.ReplaceAll(strings.ToValidUTF8(name, "\uFFFD"), "\\", "/")
	name = strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r) && !joiner(r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r):
			return -1
		}
		return r
	}, name)
	name = strings.TrimSpace(path.Base(strings.TrimRight(name, "/ ")))
	if len(name) > maxFileName {
		ext := path.Ext(name)
		if len(ext) > 20 {
			ext = ""
		}
		cut := maxFileName - len(ext)
		for cut > 0 && !utf8.RuneStart(name[cut]) {
			cut--
		}
		name = name[:cut] + ext
	}
	switch name {
	case "", ".", "..", "/":
		return "file"
	}
	return name
}
