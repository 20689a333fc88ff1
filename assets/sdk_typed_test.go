package assets

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// tool is a command of what sdktest installs, run by Node.
func tool(t *testing.T, name string) (node, script string) {
	t.Helper()
	script = filepath.Join("sdktest", "node_modules", filepath.FromSlash(name))
	node, err := exec.LookPath("node")
	if err == nil {
		_, err = os.Stat(script)
	}
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("CI needs Node.js, and npm ci in assets/sdktest: %v", err)
		}
		t.Skipf("skipped without Node.js, and npm ci in assets/sdktest: %v", err)
	}
	return node, script
}

// TestSDKTypes compiles uses of the SDK's types: right ones, and wrong ones
// that must not compile (sdktest/typed).
func TestSDKTypes(t *testing.T) {
	t.Parallel()
	node, tsc := tool(t, "typescript/bin/tsc")
	for _, project := range []string{"typed", "typed/mini", "typed/uni"} {
		t.Run(filepath.Base(project), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			out, err := exec.CommandContext(ctx, node, tsc, "--pretty", "false", "-p", filepath.Join("sdktest", project)).CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
