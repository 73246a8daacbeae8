package goapp

import (
	"net/http"

	"github.com/cutover-dev/cutover/internal/goapp/store"
)

// toolView is a tool as one member sees it.
type toolView struct {
	store.Tool
	Mine                 bool
	CanCheckOut, CanTake bool // a checkout or checkin would be allowed
}

func viewTool(user member, tool store.Tool) toolView {
	view := toolView{Tool: tool}
	if tool.Checkout == nil {
		view.CanCheckOut = user.mayUse(tool.Circle)
	} else {
		view.Mine = tool.Checkout.AccountID == user.ID
		view.CanTake = view.Mine || user.administrator()
	}
	return view
}

func toolViews(user member, tools []store.Tool) []toolView {
	views := make([]toolView, len(tools))
	for i, tool := range tools {
		views[i] = viewTool(user, tool)
	}
	return views
}

type toolsView struct {
	menu
	Tools []toolView
	paging
	neighbours
}

func (s *Server) viewTools(user member) func(*http.Request) (toolsView, error) {
	return func(r *http.Request) (toolsView, error) {
		found, err := s.findTools(r)
		return toolsView{
			menu:       menu{user.Account, toolsPath},
			Tools:      toolViews(user, found.Tools),
			paging:     found.paging,
			neighbours: beside(toolsPath, nil, found.paging),
		}, err
	}
}

func (s *Server) toolsPage(r *http.Request) (answer, error) {
	user, err := s.currentMember(r)
	if err != nil {
		return toLogin(toolsPath, err)
	}
	view, err := firstPage(r, s.viewTools(user), nil)
	if err != nil {
		return answer{}, err
	}
	return s.views.page(http.StatusOK, "tools", view)
}

// toolsFragment is the list alone, for one page of it.
func (s *Server) toolsFragment(r *http.Request) (answer, error) {
	user, err := s.currentMember(r)
	if err != nil {
		return s.notLoggedIn(r, toolsPath, err)
	}
	view, err := s.viewTools(user)(r)
	if err != nil {
		return answer{}, err
	}
	return s.views.fragment(http.StatusOK, "tools", view)
}

// toolFragment answers a checkout or a checkin with the tool's row.
func (s *Server) toolFragment(move toolMove) handler {
	return func(r *http.Request) (answer, error) {
		user, after, err := move(r)
		if err != nil {
			return s.notLoggedIn(r, toolsPath, err)
		}
		return s.views.fragment(http.StatusOK, "toolrow", viewTool(user, after))
	}
}
