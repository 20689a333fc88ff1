package chat

import (
	"bytes"
	"encoding/binary"
	"mime"
	"slices"
	"strings"
)

const (
	// PlainFile is the type of what is only offered for download.
	PlainFile = "application/octet-stream"

	// FileHead is how many bytes of a file FileType wants to see.
	FileHead = 4096
)

// FileType decides by the beginning of a file what it is served as: a raster
// image, an audio or a video that browsers show, or PlainFile for all else,
// SVG and HTML among it. The declared type counts only between types of one
// container (a WebM may hold a video or a voice). The sniffing follows
// mimesniff.spec.whatwg.org and is stricter where a short mark would take a
// text for an image.
func FileType(head []byte, declared string) string {
	types := sniff(head)
	if len(types) == 0 {
		return PlainFile
	}
	if kind, _, err := mime.ParseMediaType(declared); err == nil && slices.Contains(types, kind) {
		return kind
	}
	return types[0]
}

// sniff returns the types that content with this head may have, the most
// likely first; nil for what is not on the list.
func sniff(b []byte) []string {
	switch {
	case has(b, 0, "\x89PNG\r\n\x1a\n") && has(b, 12, "IHDR"):
		return []string{"image/png"}
	case has(b, 0, "\xff\xd8\xff"):
		return []string{"image/jpeg"}
	case (has(b, 0, "GIF87a") || has(b, 0, "GIF89a")) && len(b) >= 13:
		return []string{"image/gif"}
	case has(b, 0, "RIFF") && has(b, 8, "WEBPVP8"):
		return []string{"image/webp"}
	case isBMP(b):
		return []string{"image/bmp"}
	case has(b, 0, "RIFF") && has(b, 8, "WAVE"):
		return []string{"audio/wav"}
	case has(b, 0, "\x1aE\xdf\xa3"):
		return webm(b)
	case has(b, 0, "OggS\x00"):
		if bytes.Contains(b, []byte("\x80theora")) {
			return []string{"video/ogg", "audio/ogg"}
		}
		return []string{"audio/ogg", "video/ogg"}
	case has(b, 4, "ftyp"):
		return isoMedia(b)
	case has(b, 0, "fLaC"):
		return []string{"audio/flac"}
	case has(b, 0, "#!AMR\n"):
		return []string{"audio/amr"}
	case has(b, 0, "ID3") && len(b) >= 10 && b[3] < 0xff && b[4] < 0xff, isMP3(b):
		return []string{"audio/mpeg"}
	case isADTS(b):
		return []string{"audio/aac"}
	}
	return nil
}

func has(b []byte, at int, mark string) bool {
	return len(b) >= at+len(mark) && string(b[at:at+len(mark)]) == mark
}

// isBMP looks at the header behind the two letters, which begin many a text.
func isBMP(b []byte) bool {
	if len(b) < 18 || !has(b, 0, "BM") || binary.LittleEndian.Uint32(b[6:]) != 0 {
		return false
	}
	return slices.Contains([]uint32{12, 40, 52, 56, 64, 108, 124}, binary.LittleEndian.Uint32(b[14:]))
}

// webm tells WebM from other Matroska files, which browsers do not show.
func webm(b []byte) []string {
	at := bytes.Index(b[:min(len(b), 64)], []byte("\x42\x82"))
	if at < 0 || !bytes.Contains(b[at:min(len(b), at+12)], []byte("webm")) {
		return nil
	}
	return []string{"video/webm", "audio/webm"}
}

// isoMedia reads the brand of an ISO base media file.
func isoMedia(b []byte) []string {
	size := int(binary.BigEndian.Uint32(b))
	if len(b) < 16 || size < 16 || size > 1024 {
		return nil
	}
	switch brand := string(b[8:12]); {
	case brand == "avif" || brand == "avis":
		return []string{"image/avif"}
	case brand == "heic" || brand == "heix" || brand == "mif1" || brand == "msf1":
		if bytes.Contains(b[16:min(len(b), size)], []byte("avif")) {
			return []string{"image/avif"}
		}
		return []string{"image/heic", "image/heif"}
	case brand == "M4A " || brand == "M4B ":
		return []string{"audio/mp4"}
	case brand == "qt  ":
		return []string{"video/quicktime"}
	case strings.HasPrefix(brand, "3gp") || strings.HasPrefix(brand, "3g2"):
		return []string{"video/3gpp", "audio/3gpp"}
	case strings.HasPrefix(brand, "iso") || strings.HasPrefix(brand, "mp4") || strings.HasPrefix(brand, "avc") ||
		brand == "M4V " || brand == "MSNV" || brand == "dash" || brand == "f4v ":
		return []string{"video/mp4", "audio/mp4"}
	}
	return nil
}

// Bits a second of MPEG layer III, in thousands, by the header's index.
var (
	mp3Rates1  = [16]int{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0}
	mp3Rates2  = [16]int{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0}
	mp3Samples = [4]int{44100, 48000, 32000, 0}
)

// mp3Frame returns how long the frame is that begins here, 0 if none does.
func mp3Frame(b []byte) int {
	if len(b) < 4 || b[0] != 0xff || b[1]&0xe0 != 0xe0 || b[1]>>1&3 != 1 {
		return 0
	}
	version := b[1] >> 3 & 3
	samples, rates, factor := mp3Samples[b[2]>>2&3], mp3Rates1, 144
	switch version {
	case 1:
		return 0
	case 2:
		samples, rates, factor = samples/2, mp3Rates2, 72
	case 0:
		samples, rates, factor = samples/4, mp3Rates2, 72
	}
	rate := rates[b[2]>>4] * 1000
	if samples == 0 || rate == 0 {
		return 0
	}
	return factor*rate/samples + int(b[2]>>1&1)
}

// isMP3 wants two frames in a row: one header alone is only eleven bits.
func isMP3(b []byte) bool {
	n := mp3Frame(b)
	return n > 0 && len(b) > n && mp3Frame(b[n:]) > 0
}

// isADTS wants two frames in a row, too.
func isADTS(b []byte) bool {
	frame := func(b []byte) int {
		if len(b) < 7 || b[0] != 0xff || b[1]&0xf6 != 0xf0 || b[2]>>2&15 > 12 {
			return 0
		}
		if n := int(b[3]&3)<<11 | int(b[4])<<3 | int(b[5])>>5; n >= 7 {
			return n
		}
		return 0
	}
	n := frame(b)
	return n > 0 && len(b) > n && frame(b[n:]) > 0
}
