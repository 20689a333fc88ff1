package api

import "net/http"

// Pages of any site, and mini-programs, may make the calls that a client's or
// a staff token is for: the token is shown by the page's own code, and never
// sent along by the browser, so that a foreign page gains nothing by asking.
// Answers do not allow credentials, so that a password which the browser
// remembers does not come along either.

// allowAnyOrigin lets a page of another site read the answer.
func allowAnyOrigin(h http.Header) {
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "Retry-After, X-Request-Id, Idempotency-Replayed")
}

// preflight answers a browser that asks whether a page may make a call; false
// if this is no such question, or the page may not.
func (a *API) preflight(w http.ResponseWriter, r *http.Request) bool {
	method := r.Header.Get("Access-Control-Request-Method")
	if method == "" || r.Header.Get("Origin") == "" {
		return false
	}
	meant := r.Clone(r.Context())
	meant.Method = method
	if _, pattern := a.mux.Handler(meant); !a.cross[pattern] {
		return false
	}
	h := w.Header()
	allowAnyOrigin(h)
	h.Set("Access-Control-Allow-Methods", method)
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Accept-Language, Idempotency-Key")
	h.Set("Access-Control-Max-Age", "7200")
	h.Set("Cache-Control", "max-age=7200")
	w.WriteHeader(http.StatusNoContent)
	return true
}
