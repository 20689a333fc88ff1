package chat

import (
	"encoding/json"
	"os"
	"testing"
)

// The pages check a code before they ask, by JavaScript of their own: both
// read these vectors in the same way (assets/sdktest/voucher_pages.test.mjs).
func TestVoucherCodeVectors(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("testdata/voucher_codes.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct{ Typed, Code, Wrong string }
	if err := json.Unmarshal(raw, &vectors); err != nil || len(vectors) == 0 {
		t.Fatal(err, len(vectors))
	}
	for _, v := range vectors {
		got, err := ParseVoucherCode(v.Typed)
		if got != v.Code || (err != nil) != (v.Wrong != "") {
			t.Errorf("%q was read as %q, %v; want %q %s", v.Typed, got, err, v.Code, v.Wrong)
		}
	}
}
