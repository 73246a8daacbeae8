package goapp

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"time"
)

//go:embed assets
var ownAssets embed.FS

// asset is a static file, kept in memory.
type asset struct {
	path    string
	content []byte
	etag    string
}

// loadAssets reads what Debian packages and adds the application's own.
func loadAssets(dir string) ([]asset, error) {
	htmx, err := os.ReadFile(filepath.Join(dir, "htmx.min.js"))
	if err != nil {
		return nil, fmt.Errorf("ASSETS_DIR must hold htmx.min.js: %w", err)
	}
	assets := []asset{newAsset("htmx.min.js", htmx)}
	own, err := ownAssets.ReadDir("assets")
	if err != nil {
		return nil, err
	}
	for _, file := range own {
		content, err := ownAssets.ReadFile("assets/" + file.Name())
		if err != nil {
			return nil, err
		}
		assets = append(assets, newAsset(file.Name(), content))
	}
	return assets, nil
}

func newAsset(name string, content []byte) asset {
	sum := sha256.Sum256(content)
	return asset{path: "/assets/" + name, content: content, etag: `"` + hex.EncodeToString(sum[:8]) + `"`}
}

// ServeHTTP lets browsers keep the file, and ask each time whether it changed:
// a page never meets the files of another version.
func (a asset) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", a.etag)
	http.ServeContent(w, r, path.Base(a.path), time.Time{}, bytes.NewReader(a.content))
}
