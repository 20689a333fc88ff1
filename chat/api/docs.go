package api

import (
	"compress/gzip"
	"io"
	"mime"
	"net/http"
	"path"
	"strings"

	"github.com/swaggest/swgui/v5/static"
)

// docs serves Swagger UI from the files that swgui embeds. Only swgui's files
// are used and not its handler: that one unpacks and hashes all of them when
// the program starts, and its page needs scripts inside of HTML.
type docs struct{}

const docsPage = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Teahouse API</title>
<link rel="icon" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
<div id="ui"></div>
<noscript>This page needs JavaScript. The description itself: <a href="/openapi.json">openapi.json</a></noscript>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</html>
`

const docsStart = `SwaggerUIBundle({url: "/openapi.json", dom_id: "#ui", deepLinking: true, validatorUrl: null,
  defaultModelsExpandDepth: 0, displayRequestDuration: true, tryItOutEnabled: true,
  presets: [SwaggerUIBundle.presets.apis], layout: "BaseLayout"});
`

const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func (docs) index(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", docsPolicy)
	w.Header().Set("Referrer-Policy", "no-referrer")
	_, _ = io.WriteString(w, docsPage)
}

func (docs) file(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "public, max-age=86400")
	if t := mime.TypeByExtension(path.Ext(name)); t != "" {
		h.Set("Content-Type", t)
	}
	if name == "start.js" {
		_, _ = io.WriteString(w, docsStart)
		return
	}
	if f, err := static.FS.Open(name); err == nil && !strings.HasSuffix(name, ".gz") {
		defer f.Close()
		_, _ = io.Copy(w, f)
		return
	}
	f, err := static.FS.Open(name + ".gz")
	if err != nil {
		h.Del("Cache-Control")
		http.NotFound(w, r)
		return
	}
	defer f.Close()
	h.Set("Vary", "Accept-Encoding")
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		_, _ = io.Copy(w, f)
		return
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		http.Error(w, "damaged", http.StatusInternalServerError)
		return
	}
	_, _ = io.Copy(w, z)
}
