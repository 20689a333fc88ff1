package main

import (
	"strings"
	"testing"
)

func TestParseSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"0": 0, "17": 17, "20MB": 20_000_000, "20 MB": 20_000_000, "20mb": 20_000_000, "2GB": 2_000_000_000, "2g": 2_000_000_000,
		"1.5GB": 1_500_000_000, "512KiB": 512 << 10, "64MiB": 64 << 20, "1TiB": 1 << 40, "3k": 3000, "5B": 5, " 7 kb ": 7000,
	} {
		if n, err := parseSize("x", text); err != nil || n != want {
			t.Errorf("%q is %d, %v; want %d", text, n, err, want)
		}
	}
	for _, text := range []string{"", "MB", "-1", "-1MB", "1e3", "0x10", "NaN", "Inf", "20 M B", "20XB", "1.2.3", "99999999TB", "9223372036854775808"} {
		if n, err := parseSize("max-upload", text); err == nil || !strings.Contains(err.Error(), "--max-upload") {
			t.Errorf("%q is %d, %v", text, n, err)
		}
	}
}
