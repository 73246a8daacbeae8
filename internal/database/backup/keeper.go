package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cutover-dev/cutover/internal/database"
	"github.com/cutover-dev/cutover/internal/database/integrity"
)

// Runner runs a client program beside the server, where it has the server's
// version and reaches it over its socket.
type Runner interface {
	// Run reads all of in, also what the program does not read; a program that
	// fails is an error.
	Run(ctx context.Context, in io.Reader, out io.Writer, command ...string) error
}

// Keeper makes, proves and restores backups of one database.
type Keeper struct {
	Server   database.Server
	Database string
	Tools    Runner
	// Socket is the folder of the server's socket, as the tools see it.
	Socket string
	// Progress is told what goes on with what; it may be nil.
	Progress func(subject, what string, over bool)
}

// Times says how long the parts of a backup took. Dump and restore overlap.
type Times struct {
	Dump    time.Duration // with the restore into the scratch database and the sums
	Compare time.Duration
	Total   time.Duration
}

// ErrDiffers means that a restored copy is not what the backup's moment was.
var ErrDiffers = errors.New("the restored copy differs")

// ErrVersion means that server, tools and dump are of versions that do not go
// together.
var ErrVersion = errors.New("the versions do not go together")

// ErrNoRoom means that the server's disk has no room for a second copy.
var ErrNoRoom = errors.New("there is not enough room")

// Make takes a backup into a folder and proves it: while the dump is written
// it is restored as well, and the copy is compared with the very moment of the
// dump, row by row in sums. The statements that make indexes and constraints
// are run on an empty copy: Prove builds them over the data. The path is that
// of the dump.
func (k *Keeper) Make(ctx context.Context, dir string) (_ Manifest, path string, times Times, err error) {
	began := time.Now()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Manifest{}, "", times, err
	}
	w, err := k.enter(ctx)
	if err != nil {
		return Manifest{}, "", times, err
	}
	defer func() { err = errors.Join(err, w.close(ctx)) }()
	if err := tidy(dir); err != nil {
		return Manifest{}, "", times, err
	}
	version, err := k.check(ctx, w, 0)
	if err != nil {
		return Manifest{}, "", times, err
	}
	if err := w.create(ctx, scratch); err != nil {
		return Manifest{}, "", times, err
	}
	file, err := os.CreateTemp(dir, halfMade+"*") // mode 0600
	if err != nil {
		return Manifest{}, "", times, fmt.Errorf("write the backup: %w", err)
	}
	kept := false
	defer func() {
		if !kept {
			err = errors.Join(err, file.Close(), os.Remove(file.Name()))
		}
	}()
	m := Manifest{SchemaVersion: 1, ServerVersion: version}
	if err := k.dump(ctx, file, &m); err != nil {
		return Manifest{}, "", times, err
	}
	times.Dump = time.Since(began)
	for _, table := range m.Baseline.Tables {
		m.Rows += table.Rows
	}
	m.File = newName(m.Baseline.TakenAt)
	comparing := time.Now()
	if err := k.proveParts(ctx, w, file.Name(), m); err != nil {
		return Manifest{}, "", times, err
	}
	times.Compare = time.Since(comparing)
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return Manifest{}, "", times, fmt.Errorf("write the backup: %w", err)
	}
	path, err = m.keep(dir, file)
	if err != nil {
		return Manifest{}, "", times, fmt.Errorf("keep the backup: %w", err)
	}
	kept = true
	times.Total = time.Since(began)
	return m, path, times, nil
}

// Prove restores a whole backup into a scratch database, indexes and
// constraints included, and compares every table with the manifest.
func (k *Keeper) Prove(ctx context.Context, path string) (m Manifest, err error) {
	if m, err = Open(path); err != nil {
		return m, err
	}
	w, err := k.enter(ctx)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, w.close(ctx)) }()
	return m, k.rebuild(ctx, w, path, m)
}

// Restore proves a backup as Prove does and keeps the copy as a database of
// another name, which must not be taken.
func (k *Keeper) Restore(ctx context.Context, path, name string) (m Manifest, err error) {
	if m, err = Open(path); err != nil {
		return m, err
	}
	w, err := k.enter(ctx)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, w.close(ctx)) }()
	var taken bool
	if err := w.conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&taken); err != nil {
		return m, err
	}
	if taken {
		return m, fmt.Errorf("%w: %s; name another one", ErrTaken, name)
	}
	if err := k.rebuild(ctx, w, path, m); err != nil {
		return m, err
	}
	return m, w.rename(ctx, scratch, name)
}

// ErrTaken means that there is a database of the name already.
var ErrTaken = errors.New("there is a database of that name already")

// Replace proves a backup as Prove does and puts the copy in the database's
// place; what was there is kept under the name that it returns. Sessions are
// cut off in that moment, and find the copy when they come again.
func (k *Keeper) Replace(ctx context.Context, path string) (m Manifest, old string, err error) {
	if m, err = Open(path); err != nil {
		return m, "", err
	}
	w, err := k.enter(ctx)
	if err != nil {
		return m, "", err
	}
	defer func() { err = errors.Join(err, w.close(ctx)) }()
	if err := k.rebuild(ctx, w, path, m); err != nil {
		return m, "", err
	}
	old = k.Database + "_before_" + time.Now().UTC().Format("20060102t150405")
	return m, old, k.exchange(ctx, w, old)
}

// Private

func (k *Keeper) tell(subject, what string, over bool) {
	if k.Progress != nil {
		k.Progress(subject, what, over)
	}
}

var major = regexp.MustCompile(`\) (\d+)`)

// check makes sure that server, tools and, if there is one, the dump go
// together, and that the server has room for another copy.
func (k *Keeper) check(ctx context.Context, w *workshop, dumped int) (version int, err error) {
	var folder string
	var size int64
	err = w.conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::int, current_setting('data_directory'), pg_database_size($1)", k.Database).
		Scan(&version, &folder, &size)
	if err != nil {
		return 0, err
	}
	var out strings.Builder
	for _, tool := range []string{"pg_dump", "pg_restore"} {
		out.Reset()
		if err := k.Tools.Run(ctx, nil, &out, tool, "--version"); err != nil {
			return 0, err
		}
		found := major.FindStringSubmatch(out.String())
		if found == nil || found[1] != strconv.Itoa(version/10000) {
			return 0, fmt.Errorf("%w: the server is Postgres %d, and beside it is %q; nothing was changed", ErrVersion, version/10000, strings.TrimSpace(out.String()))
		}
	}
	if dumped/10000 > version/10000 {
		return 0, fmt.Errorf("%w: the backup is of Postgres %d, and the server is Postgres %d, which is older; nothing was changed", ErrVersion, dumped/10000, version/10000)
	}
	out.Reset()
	if err := k.Tools.Run(ctx, nil, &out, "df", "--block-size=1", "--output=avail", folder); err != nil {
		return 0, err
	}
	fields := strings.Fields(out.String())
	free, err := strconv.ParseInt(fields[len(fields)-1], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read how much room the server has: %w", err)
	}
	if free < size {
		return 0, fmt.Errorf("%w: the database has %d MB and the server's disk %d MB free; a copy is restored beside it, to prove the backup; nothing was changed", ErrNoRoom, size>>20, free>>20)
	}
	return version, nil
}

func (k *Keeper) args(command ...string) []string {
	return append([]string{command[0], "--host=" + k.Socket, "--username=" + k.Server.User, "--no-password"}, command[1:]...)
}

// dump writes the dump to the file and into the scratch database, while the
// sums of the same moment are made.
func (k *Keeper) dump(ctx context.Context, file *os.File, m *Manifest) (err error) {
	snapshot, err := k.Server.TakeSnapshot(ctx, k.Database, 2)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, snapshot.Close(ctx)) }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	reader, writer := io.Pipe()
	hash := sha256.New()
	counted := &counter{}
	failed := func(err error) {
		if err != nil {
			cancel(err)
		}
	}
	k.tell("dump", "written and restored at once", false)
	var work sync.WaitGroup
	// The first failure is the cause; what it brings down with it is not told.
	work.Go(func() {
		err := k.Tools.Run(ctx, nil, io.MultiWriter(file, hash, counted, writer), k.args(
			"pg_dump", "--format=custom", "--compress=zstd:1", "--snapshot="+snapshot.ID, k.Database)...)
		failed(err)
		_ = writer.CloseWithError(err) // always nil
	})
	work.Go(func() {
		failed(k.Tools.Run(ctx, reader, io.Discard,
			k.args("pg_restore", "--exit-on-error", "--section=pre-data", "--section=data", "--dbname="+scratch)...))
	})
	work.Go(func() {
		var err error
		m.Baseline, err = integrity.Take(ctx, snapshot, nil, nil)
		failed(err)
	})
	work.Wait()
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("take the dump: %w", err)
	}
	m.Bytes, m.SHA256 = counted.bytes, hex.EncodeToString(hash.Sum(nil))
	k.tell("dump", fmt.Sprintf("%d MB", m.Bytes>>20), true)
	return file.Sync()
}

// proveParts compares the scratch database with the moment of the dump, reads
// the file again, and runs the statements of its indexes on an empty copy.
func (k *Keeper) proveParts(ctx context.Context, w *workshop, file string, m Manifest) error {
	var work sync.WaitGroup
	var compared, tried error
	work.Go(func() { compared = k.compare(ctx, m) })
	work.Go(func() {
		bytes, sum, err := sumFile(file)
		if err == nil && (bytes != m.Bytes || sum != m.SHA256) {
			err = fmt.Errorf("%w: the file that was written reads otherwise: the disk is not to be trusted", ErrDiffers)
		}
		if err == nil {
			err = w.create(ctx, scratchEmpty)
		}
		if err == nil {
			err = k.load(ctx, file, scratchEmpty, "--section=pre-data", "--section=post-data")
		}
		tried = err
	})
	work.Wait()
	return errors.Join(compared, tried)
}

// rebuild restores a backup into the scratch database, whole, and compares it.
func (k *Keeper) rebuild(ctx context.Context, w *workshop, path string, m Manifest) error {
	if _, err := k.check(ctx, w, m.ServerVersion); err != nil {
		return err
	}
	if err := w.create(ctx, scratch); err != nil {
		return err
	}
	k.tell("restore", filepath.Base(path), false)
	if err := k.load(ctx, path, scratch); err != nil {
		return err
	}
	k.tell("restore", "whole, with indexes and constraints", true)
	return k.compare(ctx, m)
}

func (k *Keeper) load(ctx context.Context, path, into string, flags ...string) (err error) {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	err = k.Tools.Run(ctx, file, io.Discard, k.args(append([]string{"pg_restore", "--exit-on-error", "--dbname=" + into}, flags...)...)...)
	if err != nil {
		return fmt.Errorf("restore the backup: %w", err)
	}
	return nil
}

func (k *Keeper) compare(ctx context.Context, m Manifest) (err error) {
	k.tell("proof", "comparing", false)
	snapshot, err := k.Server.TakeSnapshot(ctx, scratch, 2)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, snapshot.Close(ctx)) }()
	copied, err := integrity.TakeCopy(ctx, snapshot, m.Baseline)
	if err != nil {
		return err
	}
	if differing := differences(m.Baseline, copied); len(differing) > 0 {
		return fmt.Errorf("%w: %s", ErrDiffers, strings.Join(differing, "; "))
	}
	k.tell("proof", fmt.Sprintf("%d rows are equal", m.Rows), true)
	return nil
}

// differences tells where a copy is not what it should be.
func differences(want, got integrity.Baseline) (told []string) {
	found := map[string]integrity.Table{}
	for _, table := range got.Tables {
		found[table.Name] = table
	}
	for _, table := range want.Tables {
		copied, ok := found[table.Name]
		delete(found, table.Name)
		if !ok {
			told = append(told, table.Name+" is missing")
			continue
		}
		if strings.Join(copied.Columns, ",") != strings.Join(table.Columns, ",") {
			told = append(told, table.Name+" has other columns")
			continue
		}
		for _, d := range integrity.Compare(table, copied) {
			told = append(told, fmt.Sprintf("%s, %s %d to %d: %d rows, not %d", table.Name, table.Key, d.From, d.To, d.After, d.Before))
		}
	}
	for name := range found {
		told = append(told, name+" is too much")
	}
	return told
}

type counter struct{ bytes int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.bytes += int64(len(p))
	return len(p), nil
}
