package chat

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// ftyp begins an ISO base media file.
func ftyp(brand string, compatible ...string) []byte {
	b := append([]byte("\x00\x00\x00\x00ftyp"+brand+"\x00\x00\x00\x00"), strings.Join(compatible, "")...)
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	return append(b, "\x00\x00\x00\x08free"...)
}

// mp3 is frames of MPEG 1 layer III, 128 kbit/s at 44.1 kHz: 417 bytes each.
func mp3(frames int) []byte {
	return bytes.Repeat(append([]byte{0xff, 0xfb, 0x90, 0x00}, make([]byte, 413)...), frames)
}

// adts is frames of AAC, 64 bytes each.
func adts(frames int) []byte {
	return bytes.Repeat(append([]byte{0xff, 0xf1, 0x50, 0x80, 64 >> 3, 64&7<<5 | 0x1f, 0xfc}, make([]byte, 57)...), frames)
}

func bmp() []byte {
	b := make([]byte, 60)
	copy(b, "BM")
	b[14] = 40
	return b
}

func TestFileType(t *testing.T) {
	t.Parallel()
	const webmHead = "\x1aE\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01B\xf2\x81\x04B\xf3\x81\x08B\x82\x84webmB\x87\x81\x04"
	for _, c := range []struct {
		name, head, declared, want string
	}{
		{"png", "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR....", "", "image/png"},
		{"jpeg", "\xff\xd8\xff\xe0\x00\x10JFIF", "text/html", "image/jpeg"},
		{"gif", "GIF89a\x01\x00\x01\x00\x00\x00\x00;", "", "image/gif"},
		{"webp", "RIFF\x10\x00\x00\x00WEBPVP8 ", "", "image/webp"},
		{"bmp", string(bmp()), "", "image/bmp"},
		{"avif", string(ftyp("avif", "mif1")), "", "image/avif"},
		{"avif by its second brand", string(ftyp("mif1", "mif1", "avif")), "", "image/avif"},
		{"heic", string(ftyp("heic", "mif1")), "", "image/heic"},
		{"wav", "RIFF\x10\x00\x00\x00WAVEfmt ", "", "audio/wav"},
		{"mp3 with a tag", "ID3\x04\x00\x00\x00\x00\x00\x00", "", "audio/mpeg"},
		{"mp3", string(mp3(3)), "", "audio/mpeg"},
		{"aac", string(adts(3)), "", "audio/aac"},
		{"flac", "fLaC\x00\x00\x00\x22", "", "audio/flac"},
		{"amr, a voice of old phones", "#!AMR\n<", "", "audio/amr"},
		{"ogg", "OggS\x00\x02......OpusHead", "", "audio/ogg"},
		{"ogg video", "OggS\x00\x02......\x80theora", "", "video/ogg"},
		{"webm", webmHead, "", "video/webm"},
		{"a voice in webm", webmHead, "audio/webm;codecs=opus", "audio/webm"},
		{"webm that claims to be an mp4", webmHead, "audio/mp4", "video/webm"},
		{"mp4", string(ftyp("isom", "iso2", "avc1")), "", "video/mp4"},
		{"a voice in mp4", string(ftyp("iso5", "isom")), "audio/mp4", "audio/mp4"},
		{"m4a", string(ftyp("M4A ", "isom")), "video/mp4", "audio/mp4"},
		{"mov", string(ftyp("qt  ")), "", "video/quicktime"},
		{"3gp", string(ftyp("3gp4", "isom")), "", "video/3gpp"},

		{"nothing", "", "image/png", PlainFile},
		{"svg", `<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`, "image/svg+xml", PlainFile},
		{"svg with a declaration", "<?xml version=\"1.0\"?>\n<svg/>", "image/svg+xml", PlainFile},
		{"html", "<!DOCTYPE html><script>alert(1)</script>", "image/png", PlainFile},
		{"html behind spaces", "   \n<html>", "text/html", PlainFile},
		{"html behind a mark of UTF-8", "\xef\xbb\xbf<html>", "text/html", PlainFile},
		{"text", "hello", "text/plain", PlainFile},
		{"text in UTF-16, which begins like layer I", "\xff\xfe<\x00h\x00t\x00m\x00l\x00", "audio/mpeg", PlainFile},
		{"a text that begins like a bitmap", "BMW <script>alert(1)</script>, a car of four wheels and more", "image/bmp", PlainFile},
		{"one frame of mp3 and then a page", string(mp3(1)) + "<script>", "audio/mpeg", PlainFile},
		{"a png signature alone", "\x89PNG\r\n\x1a\n<script>alert(1)</script>", "image/png", PlainFile},
		{"matroska", strings.Replace(webmHead, "webm", "matroska", 1), "video/webm", PlainFile},
		{"pdf", "%PDF-1.7\n", "application/pdf", PlainFile},
		{"zip", "PK\x03\x04", "image/png", PlainFile},
		{"flash", "CWS\x0a", "image/jpeg", PlainFile},
		{"postscript", "%!PS-Adobe-", "image/png", PlainFile},
		{"icon", "\x00\x00\x01\x00\x01\x00", "image/x-icon", PlainFile},
		{"riff of another sort", "RIFF\x10\x00\x00\x00ACON", "image/webp", PlainFile},
		{"a box of an unknown brand", string(ftyp("jp2 ")), "image/jp2", PlainFile},
	} {
		if got := FileType([]byte(c.head), c.declared); got != c.want {
			t.Errorf("%s is %s, want %s", c.name, got, c.want)
		}
	}
}

// No head makes the sniffer fail, and no type comes out that is not on the list.
func FuzzFileType(f *testing.F) {
	for _, s := range [][]byte{mp3(2), adts(2), bmp(), ftyp("avif"), ftyp("mif1", "avif"), []byte("\x1aE\xdf\xa3B\x82\x84webm"), []byte("OggS\x00"), []byte("RIFF1234WAVE"), {0xff, 0xfb}, nil} {
		f.Add(s, "audio/webm")
	}
	listed := []string{PlainFile, "image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp", "image/avif", "image/heic", "image/heif",
		"audio/wav", "audio/mpeg", "audio/aac", "audio/flac", "audio/amr", "audio/ogg", "video/ogg", "audio/webm", "video/webm", "audio/mp4", "video/mp4", "video/quicktime", "video/3gpp", "audio/3gpp"}
	f.Fuzz(func(t *testing.T, head []byte, declared string) {
		if got := FileType(head, declared); !slices.Contains(listed, got) {
			t.Errorf("%q is %s", head, got)
		}
	})
}

func TestCleanFileName(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"tea.jpg": "tea.jpg", "茶 壶.jpg": "茶 壶.jpg", "../../etc/passwd": "passwd", `C:\fakepath\tea.jpg`: "tea.jpg", "/": "file", "": "file", " ": "file",
		".": "file", "..": "file", "a/..": "file", "a/": "a", "x\r\nSet-Cookie: a=b": "x  Set-Cookie: a=b", "a\x00b\x1bc": "abc",
		"photo\u202egpj.exe": "photogpj.exe", "a\u2028b\u2066c\ufeffd": "abcd", "quo\"te'.txt": "quo\"te'.txt", "bad\xff.txt": "bad\uFFFD.txt",
		"<img src=x onerror=alert(1)>.png": "<img src=x onerror=alert(1)>.png", "👨‍👩‍👧.png": "👨‍👩‍👧.png", ".htaccess": ".htaccess",
	} {
		if got := CleanFileName(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
	for _, long := range []string{strings.Repeat("a", 10_000) + ".jpg", strings.Repeat("茶", 10_000) + ".jpg"} {
		if got := CleanFileName(long); len(got) > 255 || len(got) < 250 || !strings.HasSuffix(got, ".jpg") || !utf8.ValidString(got) {
			t.Errorf("a long name becomes %q (%d bytes)", got, len(got))
		}
	}
	if got := CleanFileName("a." + strings.Repeat("x", 10_000)); len(got) > 255 {
		t.Errorf("a long extension makes %d bytes", len(got))
	}
}

func TestFileRefs(t *testing.T) {
	t.Parallel()
	a, b := NewFileID(), NewFileID()
	if a == b || !ValidFileID(a) || ValidFileID(a[1:]) || ValidFileID(strings.ToUpper(a)) || ValidFileID(a[1:]+"1") {
		t.Errorf("ids: %s, %s", a, b)
	}
	for body, want := range map[string][]string{
		`{"text":"hi"}`:                     nil,
		`"file"`:                            nil,
		`{"text":"the \"file\" ` + a + `"}`: nil,
		`{"file":{"id":"` + a + `"}}`:       {a},
		`{"file":{"id":"` + a + `","thumb":"` + b + `"}}`:   {a, b},
		`{"file":{"id":"` + a + `","thumb":"` + a + `"}}`:   {a},
		`{"file":{"thumb":"` + b + `","id":5}}`:             {b},
		`{"file":{"id":["` + a + `"],"thumb":"../../x"}}`:   nil,
		`{"file":"` + a + `"}`:                              nil,
		`{"file":null}`:                                     nil,
		`[{"file":{"id":"` + a + `"}}]`:                     nil,
		`{"nested":{"file":{"id":"` + a + `"}}}`:            nil,
		`{"file":{"id":"` + strings.ToUpper(a) + `"}}`:      nil,
		`{"text":"x","file":{"size":1e9,"id":"` + a + `"}}`: {a},
	} {
		if got := FileRefs([]byte(body)); !slices.Equal(got, want) {
			t.Errorf("%s refers to %v, want %v", body, got, want)
		}
	}
}

// What is said without files must cost next to nothing.
func BenchmarkFileRefs(b *testing.B) {
	body := []byte(`{"text":"` + strings.Repeat("hello, what about the files? ", 10) + `"}`)
	for b.Loop() {
		if FileRefs(body) != nil {
			b.Fatal("it refers to something")
		}
	}
}
