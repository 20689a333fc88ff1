package api

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"sync"

	"github.com/danielgtaylor/huma/v2"
)

const about = `The HTTP side of Teahouse. Backends publish events here, issue and redeem vouchers, read history, see who is online and issue client tokens; browsers and devices speak WebSocket at ` + "`/ws`" + `.

Times are integers, milliseconds since 1970 UTC. Unknown fields are ignored. Errors are RFC 9457 problems with a stable ` + "`code`" + `; their sentences come in English or Chinese, by Accept-Language. Every POST takes an ` + "`Idempotency-Key`" + `.`

// config describes the API to huma. Its defaults are not used: they would add
// a $schema to every answer and serve documentation from another site.
func config(version string) huma.Config {
	c := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info:    &huma.Info{Title: "Teahouse", Version: version, Description: about},
			Tags: []*huma.Tag{ // in the order of the page
				{Name: "Events"}, {Name: "Vouchers"}, {Name: "Staff"}, {Name: "Sessions"}, {Name: "Tokens"}, {Name: "Keys"}, {Name: "Files"}, {Name: "Operations"},
			},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					schemeKey:    {Type: "http", Scheme: "bearer", Description: "An API key"},
					schemeStaff:  {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "What staff got when they signed in"},
					schemeClient: {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "A client's token"},
					schemeBasic:  {Type: "http", Scheme: "basic", Description: "The user `operator` with the operator's password. Everything that an API key may do, and keys and backups"},
				},
			},
		},
		Formats:       map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat: "application/json",
	}
	c.AllowAdditionalPropertiesByDefault = true // a newer client may say more
	return c
}

// tidy corrects what huma assumes: each operation may answer a problem, and
// that is said once.
func tidy(doc *huma.OpenAPI) {
	problem := doc.Components.Schemas.Map()["Problem"]
	if problem != nil {
		problem.Description = "What went wrong (RFC 9457)"
	}
	for _, path := range doc.Paths {
		for _, op := range []*huma.Operation{path.Get, path.Post, path.Patch, path.Delete} {
			if op == nil {
				continue
			}
			op.Responses["default"] = &huma.Response{
				Description: "A problem; its code says which",
				Content: map[string]*huma.MediaType{problemType: {
					Schema: &huma.Schema{Ref: "#/components/schemas/Problem"},
				}},
			}
		}
	}
}

// document is the OpenAPI document, written when it is first asked for.
type document struct {
	json, yaml func() []byte
}

func (d *document) init(doc *huma.OpenAPI, log *slog.Logger) {
	write := func(f func() ([]byte, error)) func() []byte {
		return sync.OnceValue(func() []byte {
			b, err := f()
			if err != nil {
				log.Error("OpenAPI document not made", "err", err)
			}
			return b
		})
	}
	d.yaml = write(doc.YAML)
	d.json = write(func() ([]byte, error) {
		b, err := json.MarshalIndent(doc, "", "  ")
		return append(b, '\n'), err
	})
}

// OpenAPI returns the API's description as JSON. It must not be changed.
func (a *API) OpenAPI() []byte { return a.spec.json() }

func (a *API) openAPIJSON(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(a.OpenAPI())
}

func (a *API) openAPIYAML(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(a.spec.yaml())
}
