package api

import (
	"context"
	"net/http"

	"teahouse/chat"

	"github.com/danielgtaylor/huma/v2"
)

// Session is one connection of one device of one user.
type Session struct {
	ID       string    `json:"id"`
	User     string    `json:"user"`
	Device   string    `json:"device" doc:"What the client calls itself"`
	Dialect  string    `json:"dialect" doc:"The wire protocol it speaks"`
	Addr     string    `json:"addr" doc:"The client's address"`
	Agent    string    `json:"agent" doc:"The client's User-Agent"`
	OpenedAt int64     `json:"opened_at" doc:"Milliseconds since 1970 UTC"`
	LastSeen int64     `json:"last_seen" doc:"When something last came from it, milliseconds since 1970 UTC"`
	EndedAt  int64     `json:"ended_at,omitempty" doc:"Milliseconds since 1970 UTC"`
	Reason   chat.Code `json:"reason,omitempty" doc:"Why it ended; missing after a plain close"`
	Online   bool      `json:"online"`
}

type sessionsInput struct {
	User  string `query:"user" doc:"Only this user's"`
	All   bool   `query:"all" doc:"Ended ones too"`
	Limit int    `query:"limit" minimum:"1" maximum:"10000" default:"1000" doc:"How many at most"`
}

type sessionsOutput struct {
	Body struct {
		Sessions []Session `json:"sessions" nullable:"false" doc:"Newest first"`
	}
}

type kickInput struct {
	ID     string `path:"id" doc:"The session"`
	Reason string `query:"reason" maxLength:"100" doc:"What the client is told, in words"`
}

func (a *API) registerSessions() {
	register(a, roleKey, huma.Operation{
		OperationID: "listSessions", Method: http.MethodGet, Path: "/api/v1/sessions", Tags: []string{"Sessions"},
		Summary: "Who is online",
	}, func(ctx context.Context, in *sessionsInput) (*sessionsOutput, error) {
		if in.User != "" {
			if err := a.opts.Hub.Limits().CheckUser(in.User); err != nil {
				return nil, err
			}
		}
		list, err := a.opts.Hub.Sessions(ctx, chat.SessionQuery{User: in.User, Online: !in.All, Limit: in.Limit})
		if err != nil {
			return nil, err
		}
		out := &sessionsOutput{}
		out.Body.Sessions = make([]Session, len(list))
		for i, s := range list {
			out.Body.Sessions[i] = Session{
				ID: s.ID, User: s.User, Device: s.Device, Dialect: s.Dialect, Addr: s.Addr, Agent: s.Agent,
				OpenedAt: s.Opened, LastSeen: s.LastSeen, EndedAt: s.Ended, Reason: s.Reason, Online: s.Ended == 0,
			}
		}
		return out, nil
	})
	register(a, roleKey, huma.Operation{
		OperationID: "endSession", Method: http.MethodDelete, Path: "/api/v1/sessions/{id}", Tags: []string{"Sessions"},
		Summary:       "End a session",
		Description:   "Closes the connection with code 4101: the client does not come back by itself.",
		DefaultStatus: http.StatusNoContent,
	}, func(_ context.Context, in *kickInput) (*struct{}, error) {
		reason := in.Reason
		if reason == "" {
			reason = "ended by the operator"
		}
		if !a.opts.Hub.Kick(in.ID, reason) {
			return nil, chat.Errorf(chat.CodeNotFound, "there is no live session %q; it may have ended already", in.ID)
		}
		return nil, nil
	})
}
