// Package api is the HTTP API over the hub: events, topics, sessions, tokens,
// keys, backup, its own description, health and metrics. Backends and the
// command line speak to it; browsers and devices speak to /ws.
//
// A request goes: ServeHTTP (limits, request id, unknown paths) → huma
// (OpenAPI, decoding, validation) → authenticate (auth.go) → once
// (idempotency.go) → the operation. Whatever goes wrong on the way leaves as
// a problem (problem.go) with a stable code.
//
// The foreign libraries of the HTTP side are imported here and nowhere else:
// huma, golang-jwt, client_golang, swgui's assets, bcrypt and x/time/rate.
package api
