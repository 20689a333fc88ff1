package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"teahouse/chat"

	"github.com/danielgtaylor/huma/v2"
)

// Doors decides who may enter a room, and whose a name is: *chat.Hub.
type Doors interface {
	// SetRoomCode gives a room a code, in place of another one.
	SetRoomCode(ctx context.Context, topic, code string) error
	// DropRoomCode takes a room's code away; false if it has none.
	DropRoomCode(ctx context.Context, topic string) (bool, error)
	// RoomCodes lists the rooms with a code, by Topic.
	RoomCodes(ctx context.Context) ([]chat.RoomCode, error)
	// FreeName ends the claim of a name; false if nobody has claimed it.
	FreeName(ctx context.Context, name string) (bool, error)
	// Claims lists claimed names, the last used first; with a name only its own.
	Claims(name string, limit int) ([]chat.Claim, error)
}

// LockedRoom is a room with a code.
type LockedRoom struct {
	Name  string `json:"name" doc:"The room, without room:"`
	SetBy string `json:"set_by,omitempty" doc:"The user who set the code; missing if the operator did"`
	SetAt int64  `json:"set_at" doc:"Milliseconds since 1970 UTC"`
}

type lockedRoomsOutput struct {
	Body struct {
		Rooms []LockedRoom `json:"rooms" nullable:"false" doc:"By name"`
	}
}

// ClaimedName is a name that belongs to somebody.
type ClaimedName struct {
	Name      string `json:"name" doc:"As it was claimed; its look-alikes belong to it"`
	ClaimedAt int64  `json:"claimed_at" doc:"Milliseconds since 1970 UTC"`
	UsedAt    int64  `json:"used_at" doc:"When it was last used, exact to an hour; milliseconds since 1970 UTC. The claim ends 30 days later"`
}

type claimedNamesInput struct {
	Name  string `query:"name" doc:"Only the claim of this name, or of a look-alike"`
	Limit int    `query:"limit" minimum:"1" maximum:"10000" default:"1000" doc:"How many at most"`
}

type claimedNamesOutput struct {
	Body struct {
		Names []ClaimedName `json:"names" nullable:"false" doc:"The last used first"`
	}
}

type roomInput struct {
	Name string `path:"name" doc:"The room, without room:, URL-escaped" example:"den"`
}

type roomCodeInput struct {
	Name string `path:"name" doc:"The room, without room:, URL-escaped" example:"den"`
	Body struct {
		Code string `json:"code" doc:"4 to 64 characters; wide and narrow forms of a letter or digit are the same" example:"tea at four"`
	}
}

type freeNameInput struct {
	Name string `path:"name" doc:"The user, URL-escaped; any look-alike of the claimed name will do" example:"alice"`
}

func (a *API) registerDoors() {
	const room, tag = "/api/v1/rooms/{name}/code", "Rooms and names"
	register(a, roleKey, huma.Operation{
		OperationID: "setRoomCode", Method: http.MethodPut, Path: room, Tags: []string{tag},
		Summary: "Give a room a code, or another one",
		Description: "It holds at once: who is in the room is put out, and needs the code to come in again. " +
			"Only its hash is kept, so a forgotten code is not told but replaced. API keys go on to read and write in the room without it.",
		MaxBodyBytes: smallBody, BodyReadTimeout: callTimeout, DefaultStatus: http.StatusNoContent,
	}, func(ctx context.Context, in *roomCodeInput) (*struct{}, error) {
		return nil, a.opts.Hub.SetRoomCode(ctx, chat.RoomPrefix+in.Name, in.Body.Code)
	})
	register(a, roleKey, huma.Operation{
		OperationID: "dropRoomCode", Method: http.MethodDelete, Path: room, Tags: []string{tag},
		Summary:       "Take the code of a room away",
		Description:   "From now on the room is for everybody.",
		DefaultStatus: http.StatusNoContent,
	}, func(ctx context.Context, in *roomInput) (*struct{}, error) {
		had, err := a.opts.Hub.DropRoomCode(ctx, chat.RoomPrefix+in.Name)
		if err == nil && !had {
			err = chat.Errorf(chat.CodeNotFound, "the room %q has no code", in.Name)
		}
		return nil, err
	})
	register(a, roleKey, huma.Operation{
		OperationID: "listRoomCodes", Method: http.MethodGet, Path: "/api/v1/rooms/codes", Tags: []string{tag},
		Summary: "List the rooms with a code",
	}, func(ctx context.Context, _ *struct{}) (*lockedRoomsOutput, error) {
		list, err := a.opts.Hub.RoomCodes(ctx)
		if err != nil {
			return nil, err
		}
		out := &lockedRoomsOutput{}
		out.Body.Rooms = make([]LockedRoom, len(list))
		for i, r := range list {
			out.Body.Rooms[i] = LockedRoom{Name: strings.TrimPrefix(r.Topic, chat.RoomPrefix), SetBy: r.SetBy, SetAt: r.SetAt}
		}
		return out, nil
	})
	register(a, roleKey, huma.Operation{
		OperationID: "listNames", Method: http.MethodGet, Path: "/api/v1/names", Tags: []string{tag},
		Summary: "List the claimed names",
	}, func(_ context.Context, in *claimedNamesInput) (*claimedNamesOutput, error) {
		list, err := a.opts.Hub.Claims(in.Name, in.Limit)
		if err != nil {
			return nil, err
		}
		out := &claimedNamesOutput{}
		out.Body.Names = make([]ClaimedName, len(list))
		for i, c := range list {
			out.Body.Names[i] = ClaimedName{Name: c.Name, ClaimedAt: c.MadeAt, UsedAt: c.UsedAt}
		}
		return out, nil
	})
	register(a, roleKey, huma.Operation{
		OperationID: "freeName", Method: http.MethodDelete, Path: "/api/v1/names/{name}", Tags: []string{tag},
		Summary: "Free a claimed name",
		Description: "For open mode, where a client claims its name by a secret: from now on anybody may use the name, or claim it. " +
			"Who has it now stays connected, and claims it again with the next hello unless somebody else was first: end the sessions if that is not meant.",
		DefaultStatus: http.StatusNoContent,
	}, func(ctx context.Context, in *freeNameInput) (*struct{}, error) {
		had, err := a.opts.Hub.FreeName(ctx, in.Name)
		if err == nil && !had {
			err = chat.Errorf(chat.CodeNotFound, "nobody has claimed the name %q", in.Name)
		}
		return nil, err
	})
}

// SetRoomCode gives a room a code, in place of another one.
func (c *Client) SetRoomCode(ctx context.Context, room, code string) error {
	return c.call(ctx, http.MethodPut, "rooms/"+url.PathEscape(room)+"/code", map[string]string{"code": code}, nil)
}

// DropRoomCode takes a room's code away.
func (c *Client) DropRoomCode(ctx context.Context, room string) error {
	return c.call(ctx, http.MethodDelete, "rooms/"+url.PathEscape(room)+"/code", nil, nil)
}

// RoomCodes lists the rooms with a code, by name.
func (c *Client) RoomCodes(ctx context.Context) ([]LockedRoom, error) {
	var out struct{ Rooms []LockedRoom }
	err := c.call(ctx, http.MethodGet, "rooms/codes", nil, &out)
	return out.Rooms, err
}

// Names lists claimed names, the last used first, limit of them at most (1 to
// 10,000); with a name only the claim of it or of a look-alike.
func (c *Client) Names(ctx context.Context, name string, limit int) ([]ClaimedName, error) {
	var out struct{ Names []ClaimedName }
	err := c.call(ctx, http.MethodGet, "names?"+url.Values{"name": {name}, "limit": {strconv.Itoa(limit)}}.Encode(), nil, &out)
	return out.Names, err
}

// FreeName ends the claim of a name.
func (c *Client) FreeName(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, "names/"+url.PathEscape(name), nil, nil)
}
