package main

import (
	"math"
	"strconv"
	"strings"
)

// sizeUnits are the units of a size: by thousands, as disks and phones count,
// and by 1024. The longer ones come first, so that "MB" is not read as "B".
var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"tib", 1 << 40},
	{"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"tb", 1e12},
	{"k", 1e3}, {"m", 1e6}, {"g", 1e9}, {"t", 1e12}, {"b", 1},
}

// parseSize reads a size as people write it: 20MB, 1.5 GB, 512KiB, 1048576.
func parseSize(flag, value string) (int64, error) {
	text := strings.ToLower(strings.TrimSpace(value))
	unit := int64(1)
	for _, u := range sizeUnits {
		if number, ok := strings.CutSuffix(text, u.name); ok {
			text, unit = strings.TrimSpace(number), u.bytes
			break
		}
	}
	wrong := func() error {
		return usage("--%s %q is not a size; write a number and B, KB, MB, GB or TB (thousands), or KiB, MiB, GiB or TiB (1024), for example 20MB", flag, value)
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 0 && n <= math.MaxInt64/unit {
		return n * unit, nil
	}
	if strings.Trim(text, "0123456789.") != "" { // no exponents, no infinity
		return 0, wrong()
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f*float64(unit) >= math.MaxInt64 {
		return 0, wrong()
	}
	return int64(f * float64(unit)), nil
}
