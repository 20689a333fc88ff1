package api

import (
	"context"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"teahouse/chat"
)

// What is served may be anything that anybody made. Three things keep it from
// doing harm: only what was recognised by its content as an image, audio or
// video is shown, under a type of the list, all else is a download; no browser
// may think otherwise (nosniff); and if one did, it would have no origin, load
// nothing and run nothing (the policy).
const filePolicy = "default-src 'none'; img-src 'self'; media-src 'self'; frame-ancestors 'none'; sandbox"

// serve answers for /files/ID/NAME.
func (d *fileDoor) serve(w http.ResponseWriter, r *http.Request) {
	callOf(r.Context()).operation = "readFile"
	h := w.Header()
	h.Set("Content-Security-Policy", filePolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	// Pages of other sites that may use this server show its files, too. Who
	// knows the id may read the file: there is nothing else to protect.
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "Content-Disposition, Content-Range, Accept-Ranges")
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodOptions:
		h.Set("Access-Control-Allow-Methods", "GET, HEAD")
		h.Set("Access-Control-Allow-Headers", "Range, If-Range, If-None-Match")
		h.Set("Access-Control-Max-Age", "7200")
		w.WriteHeader(http.StatusNoContent)
		return
	default:
		h.Set("Allow", "GET, HEAD")
		p := callOf(r.Context()).problem(chat.Errorf(chat.CodeBadRequest, "files are only read here; uploads go to %s or %s", uploadsPath, filesPath))
		p.Title, p.Status = http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed
		writeProblem(w, r, p)
		return
	}
	id, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/files/"), "/")
	if !chat.ValidFileID(id) {
		h.Set("Cache-Control", "no-store")
		writeProblem(w, r, chat.Errorf(chat.CodeFileUnknown, "there is no such file: files are at /files/ID/NAME"))
		return
	}
	f, content, err := d.store.OpenFile(r.Context(), id)
	if err != nil {
		h.Set("Cache-Control", "no-store")
		writeProblem(w, r, err)
		return
	}
	defer content.Close()
	kind := "inline"
	if _, asked := r.URL.Query()["download"]; asked || f.Type == chat.PlainFile {
		kind = "attachment"
	}
	h.Set("Content-Type", f.Type)
	h.Set("Content-Disposition", disposition(kind, f.Name))
	h.Set("ETag", `"`+hex.EncodeToString(f.Hash[:16])+`"`)
	// For this reader alone, and not for long: a recalled picture is gone.
	h.Set("Cache-Control", "private, max-age=3600")
	rc := http.NewResponseController(w)
	stop := context.AfterFunc(d.api.stopping, func() { _ = rc.SetWriteDeadline(time.Now()) })
	defer stop()
	http.ServeContent(&pacedWriter{w, rc}, r, "", time.UnixMilli(f.At), content)
}

// disposition writes a Content-Disposition (RFC 6266): the name in UTF-8 by
// RFC 5987, and before it one in plain letters for whoever does not know that.
func disposition(kind, name string) string {
	var plain, coded strings.Builder
	for _, r := range name {
		if r < 0x20 || r > 0x7e || r == '"' || r == '\\' || r == '%' {
			r = '_'
		}
		plain.WriteRune(r)
	}
	for i := range len(name) {
		c := name[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$&+-.^_`|~", c) >= 0 {
			coded.WriteByte(c)
			continue
		}
		coded.WriteByte('%')
		coded.WriteString(strings.ToUpper(hex.EncodeToString([]byte{c})))
	}
	return kind + `; filename="` + plain.String() + `"; filename*=UTF-8''` + coded.String()
}
