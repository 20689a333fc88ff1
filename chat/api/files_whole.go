package api

import (
	"context"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"os"

	"teahouse/chat"
)

// formRoom is what a form may be larger than the file in it, in bytes.
const formRoom = 1 << 20

// whole answers POST /api/v1/files: a file in one piece, as mini-programs and
// simple backends send it.
func (d *fileDoor) whole(w http.ResponseWriter, r *http.Request) {
	callOf(r.Context()).operation = "uploadFile"
	if d.preflight(w, r, "POST") {
		return
	}
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	f, err := d.takeWhole(w, r)
	if err != nil {
		if r.ContentLength != 0 {
			w.Header().Set("Connection", "close") // what is still to come is not read
		}
		d.refuse(w, r, err)
		return
	}
	writeFile(w, http.StatusCreated, f)
}

func (d *fileDoor) takeWhole(w http.ResponseWriter, r *http.Request) (f chat.File, err error) {
	s, done, err := d.sends(r)
	if err != nil {
		return f, err
	}
	defer done()
	if r.ContentLength > d.opts.Max+formRoom {
		return f, d.tooLarge()
	}
	_, stop := paced(w, r, d.api.stopping)
	defer stop()
	r.Body = http.MaxBytesReader(w, r.Body, d.opts.Max+formRoom)
	form, err := r.MultipartReader()
	if err != nil {
		return f, chat.Errorf(chat.CodeBadRequest, "send the file as a form (multipart/form-data), in a field named file: curl -F file=@picture.jpg")
	}
	part, err := filePart(form)
	if err != nil {
		return f, d.cut(err)
	}
	u := chat.Upload{Name: part.FileName(), Declared: part.Header.Get("Content-Type"), Size: d.opts.Max}
	if r.ContentLength > 0 {
		u.Size = min(u.Size, r.ContentLength)
	}
	if err := d.begin(r.Context(), s, &u); err != nil {
		return f, err
	}
	ctx := context.WithoutCancel(r.Context())
	_, err = d.store.WriteUpload(ctx, u.ID, 0, part)
	if err == nil {
		if n, _ := io.ReadFull(part, make([]byte, 1)); n > 0 {
			err = d.tooLarge()
		}
	}
	if err == nil {
		// Only a form that ends as it should has come whole.
		if _, err = form.NextPart(); errors.Is(err, io.EOF) {
			err = nil
		}
	}
	if err == nil {
		err = d.store.EndUpload(ctx, u.ID)
	}
	if err == nil {
		f, err = d.store.FinishUpload(ctx, u.ID)
	}
	if err != nil {
		_ = d.store.DropUpload(ctx, u.ID) // else it goes after a day
		return f, d.cut(err)
	}
	return f, nil
}

// filePart finds the first part with a file name.
func filePart(form *multipart.Reader) (*multipart.Part, error) {
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			return nil, chat.Errorf(chat.CodeBadRequest, "the form has no file in it: send it in a field named file, with a file name")
		}
		if err != nil || part.FileName() != "" {
			return part, err
		}
	}
}

// cut gives a sentence to what broke a body off.
func (d *fileDoor) cut(err error) error {
	var known *chat.Error
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &known):
		return err
	case errors.As(err, &large):
		return d.tooLarge()
	case d.api.stopping.Err() != nil:
		return chat.Errorf(chat.CodeGoingAway, "the server is stopping; send the file again in a moment")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return chat.Errorf(chat.CodeUploadCut, "the bytes stopped coming; send the file again, or by %s, which goes on where it broke", uploadsPath)
	}
	return &chat.Error{Code: chat.CodeBadRequest, Message: "the form did not arrive whole; send it again", Err: err}
}
