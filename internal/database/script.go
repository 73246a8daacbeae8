package database

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Script is SQL as psql reads it and pg_dump writes it in its plain format:
// statements, and the rows of a COPY … FROM stdin up to a line with \. alone.
// It may be of any length, because it is read while it is run.
type Script struct {
	Name string // for error messages
	Open func(context.Context) (io.ReadCloser, error)
	// Bulk says that there are so many rows that it is quicker to build the
	// indexes afterwards.
	Bulk bool
}

// File is the script in a file, dir/name.
func File(dir, name string) Script {
	path := filepath.Join(dir, name)
	return Script{Name: path, Open: func(context.Context) (io.ReadCloser, error) { return os.Open(path) }}
}

// Private

// run runs a script in the transaction that conn is in; add is told of rows as
// they come. The settings that the script makes end with it.
func (s Script) run(ctx context.Context, conn *pgconn.PgConn, add func(rows int64)) (err error) {
	source, err := s.Open(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	reader := newReader(source)
	for {
		statement, err := reader.next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = statement.run(ctx, conn, add)
		}
		var faulty *faultyLine
		switch {
		case err == nil:
		case errors.As(err, &faulty):
			return fmt.Errorf("%s:%d: %w", s.Name, faulty.line, faulty.err)
		default:
			return fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	_, err = conn.Exec(ctx, "RESET ALL").ReadAll()
	return err
}

// faultyLine is an error and the line of the script that it is about.
type faultyLine struct {
	line int
	err  error
}

func (e *faultyLine) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.err) }

func (e *faultyLine) Unwrap() error { return e.err }

func fault(line int, format string, args ...any) error {
	return &faultyLine{line, fmt.Errorf(format, args...)}
}

// statement is one SQL statement without its semicolon.
type statement struct {
	sql  string
	line int       // where it begins
	data *copyData // the rows that follow, if it is a COPY FROM stdin
}

func (s statement) run(ctx context.Context, conn *pgconn.PgConn, add func(rows int64)) error {
	if word := strings.ToUpper(firstWord(s.sql)); slices.Contains(transactionWords(), word) {
		return fault(s.line, "%s: everything is loaded in one transaction, which is not the script's to begin or end", word)
	}
	if s.data != nil {
		return s.copy(ctx, conn, add)
	}
	results, err := conn.Exec(ctx, s.sql).ReadAll()
	if err != nil {
		return s.locate(err)
	}
	for _, result := range results {
		if result.CommandTag.Insert() {
			add(result.CommandTag.RowsAffected())
		}
	}
	return nil
}

func (s statement) copy(ctx context.Context, conn *pgconn.PgConn, add func(rows int64)) error {
	s.data.add = add
	_, err := conn.CopyFrom(ctx, s.data, s.sql)
	select {
	case failure := <-s.data.failed:
		return failure // the server only knows that the rows ended early
	default:
	}
	if err != nil {
		return s.locate(err)
	}
	return nil
}

// locate says which line of the script the server complains about.
func (s statement) locate(err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return err
	}
	line := s.line
	if found := copyLine().FindStringSubmatch(pg.Where); s.data != nil && found != nil {
		row, _ := strconv.Atoi(found[1])
		line = s.data.line + row - 1
	} else if pg.Position > 0 {
		before := []rune(s.sql)
		before = before[:min(int(pg.Position)-1, len(before))]
		line += strings.Count(string(before), "\n")
	}
	return &faultyLine{line, detailed(err)}
}

// detailed adds what the server says beyond the error itself: which key it is
// that is there twice.
func detailed(err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Detail != "" {
		return fmt.Errorf("%w: %s", err, pg.Detail)
	}
	return err
}

func transactionWords() []string {
	return []string{"BEGIN", "START", "COMMIT", "END", "ABORT", "ROLLBACK"}
}

// copyLine finds the row in the context that the server gives to an error.
func copyLine() *regexp.Regexp { return regexp.MustCompile(`COPY .*, line (\d+)`) }

func takesRows() *regexp.Regexp { return regexp.MustCompile(`(?is)^copy\b.*\bfrom\s+stdin\b`) }

func firstWord(sql string) string {
	for i := range len(sql) {
		if !isIdentifier(sql[i]) {
			return sql[:i]
		}
	}
	return sql
}

// reader cuts a script into statements.
type reader struct {
	in    *bufio.Reader
	line  int
	copy  *regexp.Regexp
	data  *copyData // of the COPY that was returned last
	depth int       // of parentheses
	text  []byte    // of the statement that is being read
}

func newReader(source io.Reader) *reader {
	return &reader{in: bufio.NewReaderSize(source, 256<<10), line: 1, copy: takesRows()}
}

// next returns the next statement; io.EOF after the last. The rows of the one
// before have to be read to their end.
func (r *reader) next() (statement, error) {
	if r.data != nil {
		r.line, r.data = r.data.at, nil
	}
	if err := r.skip(); err != nil {
		return statement{}, err
	}
	line := r.line
	r.text, r.depth = r.text[:0], 0
	err := r.untilSemicolon()
	if err != nil && err != io.EOF {
		return statement{}, err
	}
	result := statement{sql: strings.TrimRight(string(r.text), " \t\r\n"), line: line}
	if !r.copy.MatchString(result.sql) {
		return result, nil
	}
	rest, err := r.in.ReadString('\n')
	if err != nil && err != io.EOF {
		return statement{}, err
	}
	if strings.TrimSpace(rest) != "" {
		return statement{}, fault(r.line, "the rows of a COPY begin on a line of their own")
	}
	r.data = &copyData{in: r.in, line: r.line + 1, at: r.line + 1, begins: true, failed: make(chan error, 1)}
	result.data = r.data
	return result, nil
}

// skip reads what may stand between statements.
func (r *reader) skip() error {
	for {
		c, err := r.read()
		if err != nil {
			return err
		}
		switch c {
		case ' ', '\t', '\r', '\n', '\f', ';':
			continue
		case '\\':
			if err := r.meta(); err != nil {
				return err
			}
			continue
		}
		if comment, err := r.comment(c); err != nil {
			return err
		} else if comment {
			continue
		}
		return r.unread(c)
	}
}

// meta reads a command that is psql's, not the server's. Newer pg_dumps write
// two, and they mean nothing here.
func (r *reader) meta() error {
	line := r.line
	command, err := r.in.ReadString('\n')
	if err != nil && err != io.EOF {
		return err
	}
	name, _, _ := strings.Cut(strings.TrimRight(command, "\r\n"), " ")
	if name != "restrict" && name != "unrestrict" {
		return fault(line, `\%s is a command of psql; a script for cutover has only SQL and the rows of COPY`, name)
	}
	r.line++
	return nil
}

// untilSemicolon reads a statement into r.text.
func (r *reader) untilSemicolon() error {
	for {
		c, err := r.read()
		if err != nil {
			return r.atEnd(err)
		}
		if comment, err := r.comment(c); err != nil {
			return err
		} else if comment {
			r.text = append(r.text, ' ')
			continue
		}
		if c == ';' && r.depth <= 0 {
			return nil
		}
		before := r.text
		r.text = append(r.text, c)
		switch c {
		case '(':
			r.depth++
		case ')':
			r.depth--
		case '\'':
			err = r.quoted(c, escapes(before))
		case '"':
			err = r.quoted(c, false)
		case '$':
			if len(before) == 0 || !isIdentifier(before[len(before)-1]) {
				err = r.dollar()
			}
		}
		if err != nil {
			return err
		}
	}
}

// atEnd judges the end of the script within a statement: the last semicolon
// may be missing.
func (r *reader) atEnd(err error) error {
	if err == io.EOF && r.depth > 0 {
		return fault(r.line, "the script ends inside parentheses")
	}
	return err
}

// quoted reads a quoted text whose first quote was read.
func (r *reader) quoted(quote byte, escaped bool) error {
	line := r.line
	for {
		c, err := r.read()
		if err == io.EOF {
			return fault(line, "the text in %c that begins here has no end", quote)
		}
		if err != nil {
			return err
		}
		r.text = append(r.text, c)
		switch {
		case escaped && c == '\\':
			if c, err = r.read(); err == nil {
				r.text = append(r.text, c)
			}
		case c == quote:
			// A doubled quote stands for itself.
			if next, err := r.in.Peek(1); err != nil || next[0] != quote {
				return nil
			}
			_, _ = r.read()
			r.text = append(r.text, quote)
		}
	}
}

// dollar reads a dollar-quoted text, if it is one ($1 is a parameter).
func (r *reader) dollar() error {
	line, start := r.line, len(r.text)-1
	for {
		next, err := r.in.Peek(1)
		if err != nil || next[0] != '$' && (!isIdentifier(next[0]) || len(r.text) == start+1 && isDigit(next[0])) {
			return nil
		}
		c, err := r.read()
		if err != nil {
			return err
		}
		r.text = append(r.text, c)
		if c == '$' {
			break
		}
	}
	tag := bytes.Clone(r.text[start:])
	body := len(r.text)
	for {
		c, err := r.read()
		if err == io.EOF {
			return fault(line, "the text in %s that begins here has no end", tag)
		}
		if err != nil {
			return err
		}
		r.text = append(r.text, c)
		if c == '$' && bytes.HasSuffix(r.text[body:], tag) {
			return nil
		}
	}
}

// comment reads a comment, if c begins one. Its line ends are kept, so that
// the lines of the statement around it stay what they are.
func (r *reader) comment(c byte) (bool, error) {
	if c != '-' && c != '/' {
		return false, nil
	}
	next, err := r.in.Peek(1)
	switch {
	case err != nil:
		return false, nil // the end: the next read says so
	case c == '-' && next[0] == '-':
		for {
			next, err := r.in.Peek(1)
			if err != nil || next[0] == '\n' {
				return true, nil
			}
			_, _ = r.read()
		}
	case c == '/' && next[0] == '*':
		return true, r.block()
	}
	return false, nil
}

// block reads a comment whose first slash was read; they nest.
func (r *reader) block() error {
	line, depth, last := r.line, 0, byte('/')
	for {
		c, err := r.read()
		if err == io.EOF {
			return fault(line, "the comment that begins here has no end")
		}
		if err != nil {
			return err
		}
		if c == '\n' && len(r.text) > 0 {
			r.text = append(r.text, c)
		}
		switch {
		case last == '/' && c == '*':
			depth, c = depth+1, 0
		case last == '*' && c == '/':
			depth, c = depth-1, 0
		}
		if depth == 0 {
			return nil
		}
		last = c
	}
}

func (r *reader) read() (byte, error) {
	c, err := r.in.ReadByte()
	if c == '\n' && err == nil {
		r.line++
	}
	return c, err
}

func (r *reader) unread(c byte) error {
	if c == '\n' {
		r.line--
	}
	return r.in.UnreadByte()
}

// escapes says whether a quote after this text begins one with backslashes:
// E'…'.
func escapes(before []byte) bool {
	n := len(before)
	return n > 0 && (before[n-1] == 'E' || before[n-1] == 'e') && (n == 1 || !isIdentifier(before[n-2]))
}

func isIdentifier(c byte) bool {
	return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' || isDigit(c) || c >= 0x80
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// copyData are the rows of a COPY.
type copyData struct {
	in     *bufio.Reader
	line   int // of the first row
	at     int // of the row that is read next
	begins bool
	rest   []byte // of a line that did not fit
	add    func(rows int64)
	err    error      // what ended it; io.EOF at its end
	failed chan error // takes err, unless it is io.EOF
}

func (d *copyData) Read(p []byte) (n int, err error) {
	rows := int64(0)
	for n < len(p) && d.err == nil {
		if len(d.rest) == 0 {
			// Waiting for the next line must not hold back the ones before.
			if n > 0 && d.in.Buffered() == 0 {
				break
			}
			if ended := d.fill(); ended {
				rows++
			}
		}
		took := copy(p[n:], d.rest)
		n, d.rest = n+took, d.rest[took:]
	}
	if d.add != nil {
		d.add(rows)
	}
	if n > 0 {
		return n, nil
	}
	return 0, d.err
}

// fill gets the next line, or a piece of a long one, and says whether a row
// ends with it.
func (d *copyData) fill() (ended bool) {
	piece, err := d.in.ReadSlice('\n')
	whole := err == nil
	if err == bufio.ErrBufferFull {
		err = nil
	}
	if d.begins && isEndOfRows(piece) {
		d.at++
		d.err = io.EOF
		return false
	}
	switch {
	case err == io.EOF:
		d.fail(fault(d.line, `the rows of the COPY that begin here have no end: a line with \. alone`))
		return false
	case err != nil:
		d.fail(err)
		return false
	}
	d.rest, d.begins = piece, whole
	if whole {
		d.at++
	}
	return whole
}

func (d *copyData) fail(err error) {
	d.err = err
	d.failed <- err
}

func isEndOfRows(line []byte) bool {
	return string(bytes.TrimRight(line, "\r\n")) == `\.`
}
