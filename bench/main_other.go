//go:build !linux

package main

import (
	"fmt"
	"os"
)

// main exists so that the module builds everywhere. The load generator and
// the floor speak epoll, and a portable generator would cost so much itself
// that it would measure itself.
func main() {
	fmt.Fprintln(os.Stderr, "bench: the load generator and the floor server need Linux (epoll); run it there or in a container")
	os.Exit(2)
}
