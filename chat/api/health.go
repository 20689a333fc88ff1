package api

import (
	"io"
	"net/http"

	"teahouse/chat"
)

// healthz says that the process lives; nothing else, so that a slow disk does
// not make a supervisor kill it.
func (a *API) healthz(w http.ResponseWriter, _ *http.Request) {
	plain(w, http.StatusOK, "ok")
}

// readyz says whether to send people here.
func (a *API) readyz(w http.ResponseWriter, _ *http.Request) {
	if err := a.opts.Hub.Ready(); err != nil {
		reason := "not ready"
		if e := chat.AsError(err); e.Code != chat.CodeInternal {
			reason = e.Message
		}
		plain(w, http.StatusServiceUnavailable, reason)
		return
	}
	plain(w, http.StatusOK, "ok")
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n")
}
