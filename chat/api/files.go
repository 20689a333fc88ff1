package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"strconv"

	"io"

	"teahouse/chat"

	"github.com/danielgtaylor/huma/v2"
)

// Files keeps what is uploaded.
type Files interface {
	// BeginUpload keeps an upload that is to come, within the quota and l.
	BeginUpload(ctx context.Context, u chat.Upload, l chat.UploadLimits) error
	// Upload says how far one has come, or CodeUploadUnknown.
	Upload(ctx context.Context, id string) (chat.Upload, error)
	// WriteUpload adds what src gives; bytes that came before it failed stay.
	WriteUpload(ctx context.Context, id string, offset int64, src io.Reader) (int64, error)
	// EndUpload makes what came all of it.
	EndUpload(ctx context.Context, id string) error
	// FinishUpload makes a file of an upload that is complete, or returns it.
	FinishUpload(ctx context.Context, id string) (chat.File, error)
	// DropUpload forgets an upload.
	DropUpload(ctx context.Context, id string) error
	// File returns what is known of a file, or CodeFileUnknown.
	File(ctx context.Context, id string) (chat.File, error)
	// OpenFile opens its content; CodeFileGone if that is missing.
	OpenFile(ctx context.Context, id string) (chat.File, *os.File, error)
	// RemoveFile removes a file; one that is referred to only if referred is set.
	RemoveFile(ctx context.Context, id string, referred bool) error
	// Files lists them, the newest first.
	Files(ctx context.Context, q chat.FileQuery) ([]chat.File, error)
	FileTotals(ctx context.Context) (chat.FileTotals, error)
}

// FileOptions say who may upload what.
type FileOptions struct {
	// Max is the size of one file in bytes; 0 takes none.
	Max int64
	// Quota is what all may take, as the store knows it: the bounds for one
	// address are parts of it.
	Quota int64
	// Tokens says that whoever uploads must prove who it is. Otherwise anybody
	// may whose page CheckOrigin lets connect.
	Tokens bool
	// CheckOrigin is the rule of the WebSocket; nil lets every page.
	CheckOrigin func(*http.Request) bool
}

const (
	filesPath   = "/api/v1/files"
	uploadsPath = "/api/v1/uploads"
	fileTag     = "Files"
)

// FileInfo is what is told of a file.
type FileInfo struct {
	ID   string `json:"id" doc:"Unguessable: who knows it may read the file" example:"5k2xq7mzg3yhd4trwn6vbcaesu"`
	Name string `json:"name" doc:"As it was sent, without folders and control characters" example:"tea.jpg"`
	Type string `json:"type" doc:"What it is served as: an image, audio or video by its content, else application/octet-stream" example:"image/jpeg"`
	Size int64  `json:"size" doc:"Bytes"`
	URL  string `json:"url" doc:"Where it is served" example:"/files/5k2xq7mzg3yhd4trwn6vbcaesu/tea.jpg"`
}

// ListedFile is a file as operators see it.
type ListedFile struct {
	FileInfo
	At       int64  `json:"at" doc:"When it was complete, milliseconds since 1970 UTC"`
	Uploader string `json:"uploader,omitempty" doc:"user:ID, key:ID or operator; missing for anybody in open mode"`
	Events   int    `json:"events" doc:"How many events refer to it; without one it goes after a day"`
}

// FileTotals are what all files together take.
type FileTotals struct {
	Files       int64 `json:"files"`
	Bytes       int64 `json:"bytes" doc:"On the disk, each content once"`
	Quota       int64 `json:"quota" doc:"Bytes that they may take, unfinished uploads included"`
	Uploads     int64 `json:"uploads" doc:"Unfinished uploads"`
	UploadBytes int64 `json:"upload_bytes" doc:"Bytes set aside for them"`
}

// FilePage is one page of the list of files.
type FilePage struct {
	Files  []ListedFile `json:"files" nullable:"false" doc:"The newest first"`
	Cursor string       `json:"cursor,omitempty" doc:"Pass it on for the next page; missing after the last one"`
	Totals FileTotals   `json:"totals"`
}

func fileInfo(f chat.File) FileInfo {
	return FileInfo{ID: f.ID, Name: f.Name, Type: f.Type, Size: f.Size, URL: "/files/" + f.ID + "/" + url.PathEscape(f.Name)}
}

type fileInput struct {
	ID string `path:"id" doc:"The file"`
}

type fileOutput struct{ Body FileInfo }

type filesInput struct {
	Cursor string `query:"cursor" doc:"What the page before gave"`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
}

type filesOutput struct{ Body FilePage }

func (a *API) registerFiles() {
	register(a, roleNone, huma.Operation{
		OperationID: "getFile", Method: http.MethodGet, Path: filesPath + "/{id}", Tags: []string{fileTag},
		Summary:     "What is known of a file",
		Description: "For whoever knows its id. After an upload whose last answer was lost: the upload's id is the file's.",
	}, func(ctx context.Context, in *fileInput) (*fileOutput, error) {
		files, err := a.filesOrNone()
		if err != nil {
			return nil, err
		}
		f, err := files.find(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		return &fileOutput{fileInfo(f)}, nil
	})
	register(a, roleOperator, huma.Operation{
		OperationID: "listFiles", Method: http.MethodGet, Path: filesPath, Tags: []string{fileTag},
		Summary: "List the files, and what they take",
	}, func(ctx context.Context, in *filesInput) (*filesOutput, error) {
		files, err := a.filesOrNone()
		if err != nil {
			return nil, err
		}
		page, err := files.list(ctx, in)
		if err != nil {
			return nil, err
		}
		return &filesOutput{*page}, nil
	})
	a.describeFiles()
}

// filesOrNone returns what serves files.
func (a *API) filesOrNone() (*fileDoor, error) {
	if a.files == nil {
		return nil, chat.Errorf(chat.CodeNotFound, "this server keeps no files")
	}
	return a.files, nil
}

// find returns a file. An upload that has come whole and could not be finished
// then, as when the disk was full, is finished now.
func (d *fileDoor) find(ctx context.Context, id string) (chat.File, error) {
	if !chat.ValidFileID(id) {
		return chat.File{}, chat.Errorf(chat.CodeFileUnknown, "there is no such file: the id is not one of ours")
	}
	f, err := d.store.File(ctx, id)
	if chat.CodeOf(err) != chat.CodeFileUnknown {
		return f, err
	}
	if u, uerr := d.store.Upload(ctx, id); uerr == nil && u.Offset == u.Size {
		return d.store.FinishUpload(ctx, id)
	}
	return f, err
}

func (d *fileDoor) list(ctx context.Context, in *filesInput) (*FilePage, error) {
	before := int64(0)
	if in.Cursor != "" {
		n, err := strconv.ParseInt(in.Cursor, 10, 64)
		if err != nil || n <= 0 {
			return nil, chat.Errorf(chat.CodeBadRequest, "the cursor is not one that a page gave")
		}
		before = n
	}
	list, err := d.store.Files(ctx, chat.FileQuery{Before: before, Limit: in.Limit + 1})
	if err != nil {
		return nil, err
	}
	t, err := d.store.FileTotals(ctx)
	if err != nil {
		return nil, err
	}
	page := &FilePage{Files: []ListedFile{}, Totals: FileTotals(t)}
	if len(list) > in.Limit {
		list = list[:in.Limit]
		page.Cursor = strconv.FormatInt(list[in.Limit-1].N, 10)
	}
	for _, f := range list {
		page.Files = append(page.Files, ListedFile{FileInfo: fileInfo(f), At: f.At, Uploader: f.Uploader, Events: f.Refs})
	}
	return page, nil
}

// describeFiles puts into the OpenAPI document what is no operation of huma,
// because bytes stream there.
func (a *API) describeFiles() {
	doc := a.huma.OpenAPI()
	ref := func(v string) *huma.Schema { return &huma.Schema{Ref: "#/components/schemas/" + v} }
	info := map[string]*huma.MediaType{"application/json": {Schema: ref("FileInfo")}}
	binary := &huma.Schema{Type: huma.TypeString, Format: "binary"}
	anybody := []map[string][]string{{}, {schemeClient: {}}, {schemeKey: {}}, {schemeBasic: {}}}
	id := &huma.Param{Name: "id", In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}}
	header := func(name, doc string) *huma.Param {
		return &huma.Param{Name: name, In: "header", Description: doc, Schema: &huma.Schema{Type: huma.TypeString}}
	}
	const chunk = "application/offset+octet-stream"
	for _, op := range []*huma.Operation{
		{
			OperationID: "uploadFile", Method: http.MethodPost, Path: filesPath, Tags: []string{fileTag}, Security: anybody,
			Summary: "Upload a file in one piece",
			Description: "A form (multipart/form-data) with the file in it; the first part with a file name counts. In open mode anybody may whose page may connect, " +
				"in token mode a client's token or an API key is needed. Put `{\"file\":{\"id\":…}}` into an event's body, or the file goes after a day. It takes no Idempotency-Key: the same bytes twice are kept once.",
			RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"multipart/form-data": {Schema: &huma.Schema{
				Type: huma.TypeObject, Required: []string{"file"}, Properties: map[string]*huma.Schema{"file": binary},
			}}}},
			Responses: map[string]*huma.Response{"201": {Description: "Created", Content: info}},
		},
		{
			OperationID: "deleteFile", Method: http.MethodDelete, Path: filesPath + "/{id}", Tags: []string{fileTag}, Security: anybody, Parameters: []*huma.Param{id},
			Summary:     "Remove a file",
			Description: "Whoever uploaded it may until an event refers to it, the operator at any time.",
			Responses:   map[string]*huma.Response{"204": {Description: "No Content"}},
		},
		{
			OperationID: "beginUpload", Method: http.MethodPost, Path: uploadsPath, Tags: []string{fileTag}, Security: anybody,
			Summary: "Begin an upload that can be resumed",
			Description: "The tus protocol 1.0 (https://tus.io/protocols/resumable-upload), with creation-with-upload and termination. The upload's id becomes the file's. " +
				"It is kept for a day after its last bytes, also over a restart.",
			Parameters: []*huma.Param{header("Tus-Resumable", "1.0.0"), header("Upload-Length", "Bytes in all"),
				header("Upload-Metadata", "filename and filetype, each with its value in base64")},
			Responses: map[string]*huma.Response{"201": {Description: "Begun: Location says where to send it. With a file of 0 bytes, or all bytes in this request: the file", Content: info}},
		},
		{
			OperationID: "continueUpload", Method: http.MethodPatch, Path: uploadsPath + "/{id}", Tags: []string{fileTag}, Security: anybody,
			Summary: "Send bytes of an upload",
			Parameters: []*huma.Param{id, header("Tus-Resumable", "1.0.0"),
				header("Upload-Offset", "Where the upload stands, as HEAD of this address tells in the header of the same name")},
			RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{chunk: {Schema: binary}}},
			Responses: map[string]*huma.Response{
				"204": {Description: "Kept; Upload-Offset says how far it has come"},
				"200": {Description: "That was the last of it: the file", Content: info},
			},
		},
		{
			OperationID: "cancelUpload", Method: http.MethodDelete, Path: uploadsPath + "/{id}", Tags: []string{fileTag}, Security: anybody,
			Summary:    "Cancel an upload",
			Parameters: []*huma.Param{id, header("Tus-Resumable", "1.0.0")},
			Responses:  map[string]*huma.Response{"204": {Description: "No Content"}},
		},
		{
			OperationID: "readFile", Method: http.MethodGet, Path: "/files/{id}/{name}", Tags: []string{fileTag}, Security: []map[string][]string{{}},
			Summary: "A file's content",
			Description: "For whoever knows its id, in ranges if asked for. What is not an image, audio or video by its content comes as a download, " +
				"and nothing of it is ever run: SVG and HTML are downloads, too. With `?download` all is.",
			Parameters: []*huma.Param{id, {Name: "name", In: "path", Required: true, Description: "Any; only people look at it", Schema: &huma.Schema{Type: huma.TypeString}}},
			Responses:  map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{"*/*": {Schema: binary}}}},
		},
	} {
		doc.AddOperation(op)
	}
}

// writeFile answers with what is told of a file.
func writeFile(w http.ResponseWriter, status int, f chat.File) {
	b, _ := json.Marshal(fileInfo(f))
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Location", filesPath+"/"+f.ID)
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n'))
}
