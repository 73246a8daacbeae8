package goapp

import (
	"context"
	"net/http"

	"github.com/cutover-dev/cutover/internal/goapp/store"
)

var (
	errCheckedOut    = problem{http.StatusConflict, "The tool is checked out already."}
	errNotCheckedOut = problem{http.StatusConflict, "The tool is not checked out."}
)

// tools finds tools, and keeps who holds them.
type tools interface {
	Tools(ctx context.Context, part store.Window) ([]store.Tool, int64, error)
	ToolsHeldBy(ctx context.Context, account int64) ([]store.Tool, error)
	Tool(ctx context.Context, id int64) (store.Tool, error)
	CheckOut(ctx context.Context, by store.Actor, id int64) (store.Tool, error)
	CheckIn(ctx context.Context, by store.Actor, id, checkout int64) (store.Tool, error)
}

type toolsData struct {
	Tools []store.Tool `json:"tools"`
	paging
}

func (s *Server) listTools(r *http.Request) (answer, error) {
	if _, err := s.currentUser(r); err != nil {
		return answer{}, err
	}
	found, err := s.findTools(r)
	if err != nil {
		return answer{}, err
	}
	return success(found)
}

// findTools answers the query's page and per_page.
func (s *Server) findTools(r *http.Request) (toolsData, error) {
	page, err := readPage(parseQuery(r.URL.RawQuery))
	if err != nil {
		return toolsData{}, err
	}
	found, total, err := s.tools.Tools(r.Context(), page.window())
	return toolsData{orEmpty(found), page.of(total)}, err
}

// toolMove is a checkout or a checkin.
type toolMove func(*http.Request) (member, store.Tool, error)

type toolData struct {
	Tool store.Tool `json:"tool"`
}

// moveTool answers a checkout or a checkin that the API or a form asked for.
func (s *Server) moveTool(move toolMove) handler {
	return func(r *http.Request) (answer, error) {
		_, after, err := move(r)
		if err != nil {
			return answer{}, err
		}
		if fromPage(r) {
			return redirect(http.StatusSeeOther, toolsPath), nil
		}
		return success(toolData{after})
	}
}

// checkOut gives the tool that the path names to who is logged in.
func (s *Server) checkOut(r *http.Request) (user member, after store.Tool, err error) {
	user, tool, err := s.namedTool(r)
	if err != nil {
		return user, tool, err
	}
	if !user.mayUse(tool.Circle) {
		return user, tool, errNotAllowed
	}
	after, err = s.tools.CheckOut(r.Context(), actor(r, user.ID), tool.ID)
	if err == nil {
		s.hook.tell(r.Context(), toolMoved{tool.ID, user.ID, "checkout"})
	}
	return user, after, err
}

// checkIn takes the tool that the path names back from who holds it.
func (s *Server) checkIn(r *http.Request) (user member, after store.Tool, err error) {
	user, tool, err := s.namedTool(r)
	switch {
	case err != nil:
		return user, tool, err
	case tool.Checkout == nil:
		return user, tool, errNotCheckedOut
	case tool.Checkout.AccountID != user.ID && !user.administrator():
		return user, tool, errNotAllowed
	}
	after, err = s.tools.CheckIn(r.Context(), actor(r, user.ID), tool.ID, tool.Checkout.ID)
	if err == nil {
		s.hook.tell(r.Context(), toolMoved{tool.ID, user.ID, "checkin"})
	}
	return user, after, err
}

func (s *Server) namedTool(r *http.Request) (member, store.Tool, error) {
	user, err := s.currentMember(r)
	if err != nil {
		return member{}, store.Tool{}, err
	}
	id, err := pathID(r)
	if err != nil {
		return user, store.Tool{}, err
	}
	tool, err := s.tools.Tool(r.Context(), id)
	return user, tool, err
}
