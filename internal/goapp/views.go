package goapp

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
)

//go:embed views/*.html
var viewFiles embed.FS

// views renders the templates in views/. A page's file defines "title" and
// "content", which the layout puts into a whole page; what htmx asks for is
// a "fragment".
type views struct {
	templates map[string]*template.Template
}

// viewParts are the files that a view is made of, besides the layout.
var viewParts = map[string][]string{
	"login":     {"login"},
	"reset":     {"reset"},
	"password":  {"password"},
	"problem":   {"problem"},
	"dashboard": {"dashboard", "tool"},
	"users":     {"users", "pages"},
	"tools":     {"tools", "tool", "pages"},
	"toolrow":   {"tool", "toolrow"},
}

func parseViews() (*views, error) {
	v := &views{templates: map[string]*template.Template{}}
	for name, parts := range viewParts {
		files := []string{"views/layout.html"}
		for _, part := range parts {
			files = append(files, "views/"+part+".html")
		}
		parsed, err := template.ParseFS(viewFiles, files...)
		if err != nil {
			return nil, fmt.Errorf("the view %s cannot be read: %w", name, err)
		}
		v.templates[name] = parsed
	}
	return v, nil
}

// page renders a whole page.
func (v *views) page(status int, name string, data any) (answer, error) {
	return v.render(status, name, "layout", data)
}

// fragment renders a piece of a page, for htmx.
func (v *views) fragment(status int, name string, data any) (answer, error) {
	return v.render(status, name, "fragment", data)
}

func (v *views) render(status int, name, part string, data any) (answer, error) {
	var body bytes.Buffer
	if err := v.templates[name].ExecuteTemplate(&body, part, data); err != nil {
		return answer{}, fmt.Errorf("the view %s cannot be rendered: %w", name, err)
	}
	return answer{status: status, contentType: "text/html; charset=utf-8", body: body.Bytes()}, nil
}
