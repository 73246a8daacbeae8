// Package migrate changes the schema of a database that two systems are using:
// what only adds (expand) while both go on, and what the legacy system cannot
// live with (contract) at the very end.
package migrate

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/pressly/goose/v3"
)

// Kind is what a migration does to the legacy system.
type Kind string

const (
	// Expand only adds: both systems work before, during and after it, and it
	// has a way down.
	Expand Kind = "expand"
	// Contract takes away what the legacy system needs; there is no way back.
	Contract Kind = "contract"
)

// Migration is one file of the plan's folder of migrations.
type Migration struct {
	Version int64
	Name    string // the file's, without folder and suffix
	Kind    Kind
	// Alone means that it runs outside a transaction, statement by statement:
	// what is built concurrently has to.
	Alone bool
	Up    string // its statements
	Down  string // "" for a contract migration
}

// Migrations are all files of a folder that has the folders expand and
// contract, in the order of their versions.
type Migrations struct {
	list []Migration
	dirs map[Kind]fs.FS
}

// Read reads a folder of migrations and checks them.
func Read(folder fs.FS) (*Migrations, error) {
	m := &Migrations{dirs: map[Kind]fs.FS{}}
	for _, kind := range []Kind{Expand, Contract} {
		dir, err := fs.Sub(folder, string(kind))
		if err != nil {
			return nil, err
		}
		names, err := fs.Glob(dir, "*.sql")
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			migration, err := read(dir, name, kind)
			if err != nil {
				return nil, fmt.Errorf("the migration %s: %w", path.Join(string(kind), name), err)
			}
			m.list = append(m.list, migration)
			m.dirs[kind] = dir
		}
	}
	slices.SortFunc(m.list, func(a, b Migration) int { return int(a.Version - b.Version) })
	return m, m.check()
}

// List returns the migrations in the order in which they are run.
func (m *Migrations) List() []Migration { return slices.Clone(m.list) }

// Private

var (
	errNoStatements = errors.New("there is nothing after -- +goose Up")
	errNoWayDown    = errors.New("it has no -- +goose Down: what only adds can be taken back")
	errWayDown      = errors.New("it has a -- +goose Down: what takes away cannot be taken back")
)

func (m *Migrations) check() error {
	for i, migration := range m.list[min(1, len(m.list)):] {
		before := m.list[i]
		if before.Version == migration.Version {
			return fmt.Errorf("the migrations %s and %s have the same version", before.Name, migration.Name)
		}
		if before.Kind == Contract && migration.Kind == Expand {
			return fmt.Errorf("the migration %s expands after %s has contracted: give it a lower version", migration.Name, before.Name)
		}
	}
	return nil
}

func read(dir fs.FS, name string, kind Kind) (Migration, error) {
	version, err := goose.NumericComponent(name)
	if err != nil {
		return Migration{}, err
	}
	content, err := fs.ReadFile(dir, name)
	if err != nil {
		return Migration{}, err
	}
	migration := Migration{Version: version, Name: strings.TrimSuffix(name, ".sql"), Kind: kind}
	migration.parse(string(content))
	switch {
	case migration.Up == "":
		return migration, errNoStatements
	case kind == Expand && migration.Down == "":
		return migration, errNoWayDown
	case kind == Contract && migration.Down != "":
		return migration, errWayDown
	}
	return migration, nil
}

// parse takes the parts apart, as far as it is needed to show them: goose runs
// them.
func (m *Migration) parse(content string) {
	var before strings.Builder
	part := &before
	var up, down strings.Builder
	for line := range strings.Lines(content) {
		order, isOrder := strings.CutPrefix(strings.TrimSpace(line), "-- +goose ")
		switch {
		case !isOrder:
			part.WriteString(line)
		case strings.EqualFold(order, "NO TRANSACTION"):
			m.Alone = true
		case strings.EqualFold(order, "Up"):
			part = &up
		case strings.EqualFold(order, "Down"):
			part = &down
		}
	}
	m.Up, m.Down = strings.TrimSpace(up.String()), strings.TrimSpace(down.String())
}
