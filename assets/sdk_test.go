package assets

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// The JavaScript is tested in JavaScript: by Node's own test runner, against a
// socket and a clock made by hand (sdktest/fake.mjs).
func TestJavaScript(t *testing.T) {
	t.Parallel()
	node, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("Node.js is not installed, so the JavaScript SDK cannot be tested; CI needs it")
		}
		t.Skip("Node.js is not installed, so the JavaScript SDK is not tested here")
	}
	tests, err := filepath.Glob("sdktest/*.test.mjs")
	if err != nil || len(tests) == 0 {
		t.Fatalf("no tests in sdktest: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, append([]string{"--test", "--test-reporter=tap"}, tests...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	passed := regexp.MustCompile(`(?m)^# pass (\d+)$`).FindSubmatch(out)
	if passed == nil || string(passed[1]) == "0" {
		t.Fatalf("no JavaScript test ran:\n%s", out)
	}
	t.Logf("%s JavaScript tests passed", passed[1])
}
