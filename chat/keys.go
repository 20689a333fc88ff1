package chat

// APIKey is a key of the HTTP API as it is kept: never the key itself, only
// what recognises it.
type APIKey struct {
	ID         string   // names it in lists: the first characters of the key
	Name       string   // what the operator calls it
	Hash       [32]byte // SHA-256 of the whole key
	CreatedAt  int64    // ms since 1970 UTC
	RevokedAt  int64    // ms since 1970 UTC; 0 while it is accepted
	LastUsedAt int64    // ms since 1970 UTC, exact to a minute; 0 if never
}

// Answer is the first answer that a request with an idempotency key got. The
// same request again gets it again, also after a restart.
type Answer struct {
	Request     [32]byte // SHA-256 of the request's body: the same key with another body is refused
	Status      int      // HTTP status
	ContentType string
	Body        []byte
	At          int64 // ms since 1970 UTC: when it was given
}
