package database

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// part is a statement, the line it begins in and the rows that follow.
type part struct {
	line int
	sql  string
	rows string
}

// parts cuts a script; it returns what came before the error too.
func parts(source io.Reader) (result []part, err error) {
	r := newReader(source)
	for {
		s, err := r.next()
		if err == io.EOF {
			return result, nil
		}
		if err != nil {
			return result, err
		}
		p := part{line: s.line, sql: s.sql}
		if s.data != nil {
			rows, err := io.ReadAll(s.data)
			if err != nil {
				return result, err
			}
			p.rows = string(rows)
		}
		result = append(result, p)
	}
}

func TestStatements(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		want   []part
	}{
		"nothing":             {" \n-- nothing\n/* at\nall */;;\n", nil},
		"two":                 {"SELECT 1;\nSELECT\n2 ;", []part{{1, "SELECT 1", ""}, {2, "SELECT\n2", ""}}},
		"no last semicolon":   {"SELECT 1;\n\nSELECT 2\n", []part{{1, "SELECT 1", ""}, {3, "SELECT 2", ""}}},
		"windows":             {"SELECT 1;\r\nSELECT 2;\r\n", []part{{1, "SELECT 1", ""}, {2, "SELECT 2", ""}}},
		"text":                {"SELECT ';', 'it''s; --', '\\'; SELECT 2;", []part{{1, `SELECT ';', 'it''s; --', '\'`, ""}, {1, "SELECT 2", ""}}},
		"escaped text":        {`SELECT E'\';', e'a''\\'; SELECT 2;`, []part{{1, `SELECT E'\';', e'a''\\'`, ""}, {1, "SELECT 2", ""}}},
		"no escapes":          {`SELECT type'\'; SELECT 2;`, []part{{1, `SELECT type'\'`, ""}, {1, "SELECT 2", ""}}},
		"identifier":          {`SELECT "a;'""b"; SELECT 2;`, []part{{1, `SELECT "a;'""b"`, ""}, {1, "SELECT 2", ""}}},
		"dollars":             {"DO $$\nBEGIN; x := '; $a$'; END$$;\nSELECT 2;", []part{{1, "DO $$\nBEGIN; x := '; $a$'; END$$", ""}, {3, "SELECT 2", ""}}},
		"tagged dollars":      {"SELECT $å_1$;$$;$å_1$; SELECT 2;", []part{{1, "SELECT $å_1$;$$;$å_1$", ""}, {1, "SELECT 2", ""}}},
		"parameters":          {"SELECT $1; SELECT a$b$c; SELECT 3;", []part{{1, "SELECT $1", ""}, {1, "SELECT a$b$c", ""}, {1, "SELECT 3", ""}}},
		"adjacent dollars":    {"SELECT $$$;$$;", []part{{1, "SELECT $$$;$$", ""}}},
		"comments":            {"SELECT 1 -- ;'\n + /* ; /* ' */ ; \n */ 2;\nSELECT 3;", []part{{1, "SELECT 1  \n + \n  2", ""}, {4, "SELECT 3", ""}}},
		"awkward comment":     {"/*/ ; */SELECT 1;", []part{{1, "SELECT 1", ""}}},
		"operators":           {"SELECT 4-2/1 - -1;", []part{{1, "SELECT 4-2/1 - -1", ""}}},
		"parentheses":         {"CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); SELECT 3;", []part{{1, "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2)", ""}, {1, "SELECT 3", ""}}},
		"pg_dump's own":       {"\\restrict abc\nSELECT 1;\n\\unrestrict abc\n", []part{{2, "SELECT 1", ""}}},
		"copy":                {"COPY t (a) FROM stdin;\n1\n;'\\.\n\\.\nSELECT 2;", []part{{1, "COPY t (a) FROM stdin", "1\n;'\\.\n"}, {5, "SELECT 2", ""}}},
		"copy of nothing":     {"copy t from STDIN WITH (FREEZE); \n\\.\nSELECT 2;", []part{{1, "copy t from STDIN WITH (FREEZE)", ""}, {3, "SELECT 2", ""}}},
		"copy on windows":     {"COPY t FROM stdin;\r\n1\r\n\\.\r\nSELECT 2;", []part{{1, "COPY t FROM stdin", "1\r\n"}, {4, "SELECT 2", ""}}},
		"copy at the end":     {"COPY t FROM stdin;\n1\n\\.", []part{{1, "COPY t FROM stdin", "1\n"}}},
		"copy from elsewhere": {"COPY t FROM '/stdin';\nSELECT 2;", []part{{1, "COPY t FROM '/stdin'", ""}, {2, "SELECT 2", ""}}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, source := range []io.Reader{strings.NewReader(test.script), iotest.OneByteReader(strings.NewReader(test.script))} {
				got, err := parts(source)
				require.NoError(t, err)
				assert.Equal(t, test.want, got)
			}
		})
	}
}

func TestFaultsNameTheLine(t *testing.T) {
	for script, want := range map[string]string{
		"SELECT 1;\n\nSELECT 'a\nb;\n":            "line 3: the text in ' that begins here has no end",
		"SELECT \"a;\n":                           `line 1: the text in " that begins here has no end`,
		"\nDO $x$ a $y$;\n":                       "line 2: the text in $x$ that begins here has no end",
		"SELECT 1;\n/* a\n":                       "line 2: the comment that begins here has no end",
		"SELECT (1;\n":                            "line 2: the script ends inside parentheses",
		"SELECT 1;\n\\connect other\n":            `line 2: \connect is a command of psql; a script for cutover has only SQL and the rows of COPY`,
		"SELECT 1;\nCOPY t FROM stdin;\n1\n2\n":   `line 3: the rows of the COPY that begin here have no end: a line with \. alone`,
		"SELECT 1;\nCOPY t FROM stdin; SELECT 2;": "line 2: the rows of a COPY begin on a line of their own",
	} {
		_, err := parts(strings.NewReader(script))
		assert.EqualError(t, err, want, script)
	}
}

func TestAFailingSourceIsTheError(t *testing.T) {
	failure := errors.New("gone")
	for _, script := range []string{"SELECT 1;", "SELECT 'a", "COPY t FROM stdin;\n1\n", "-- a", "\\restrict"} {
		_, err := parts(io.MultiReader(strings.NewReader(script), iotest.ErrReader(failure)))
		assert.ErrorIs(t, err, failure, script)
	}
}

func TestRowsOfAnyLengthStream(t *testing.T) {
	row := strings.Repeat("x", 300<<10) + `\.` + "\n"
	r := newReader(strings.NewReader("COPY t FROM stdin;\n" + row + row + "\\.\nSELECT 2;"))
	s, err := r.next()
	require.NoError(t, err)
	var counted int64
	s.data.add = func(rows int64) { counted += rows }
	rows, err := io.ReadAll(bufio.NewReaderSize(s.data, 100))
	require.NoError(t, err)
	assert.Equal(t, row+row, string(rows))
	assert.EqualValues(t, 2, counted)
	s, err = r.next()
	require.NoError(t, err)
	assert.Equal(t, 5, s.line)
}

func TestTheServersComplaintIsLocated(t *testing.T) {
	s := statement{sql: "SELECT å,\n  b\nFROM c", line: 7}
	complaint := func(e pgconn.PgError) int {
		var found *faultyLine
		require.ErrorAs(t, s.locate(&e), &found)
		return found.line
	}
	assert.Equal(t, 8, complaint(pgconn.PgError{Position: 13}))
	assert.Equal(t, 9, complaint(pgconn.PgError{Position: 20}))
	assert.Equal(t, 7, complaint(pgconn.PgError{}))
	assert.Equal(t, 9, complaint(pgconn.PgError{Position: 900}))
	s.data = &copyData{line: 10}
	assert.Equal(t, 12, complaint(pgconn.PgError{Where: `COPY accounts, line 3, column id: "x"`}))
}

func TestTransactionsAreNotTheScripts(t *testing.T) {
	for _, sql := range []string{"COMMIT", "begin", "Rollback", "END", "START TRANSACTION"} {
		err := statement{sql: sql, line: 3}.run(t.Context(), nil, nil)
		assert.ErrorContains(t, err, "line 3: "+strings.ToUpper(firstWord(sql))+": everything is loaded in one transaction")
	}
}

func TestGeneratorIsCompiledAndRun(t *testing.T) {
	dir := program(t, `fmt.Println(os.Args[1:])`)
	output, err := generate(t, dir)
	require.NoError(t, err)
	assert.Equal(t, "[--accounts 12 --seed 34]\n", output)
}

func TestGeneratorThatFails(t *testing.T) {
	dir := program(t, `fmt.Println("SELECT 1;"); fmt.Fprintln(os.Stderr, "out of names"); os.Exit(3)`)
	output, err := generate(t, dir)
	assert.Equal(t, "SELECT 1;\n", output)
	assert.ErrorContains(t, err, "exit status 3")
	assert.ErrorContains(t, err, "out of names")

	_, err = generate(t, program(t, `nonsense`))
	assert.ErrorContains(t, err, "compile the generator")
	assert.ErrorContains(t, err, "nonsense")
}

func TestGeneratorEndsWhenNobodyReads(t *testing.T) {
	dir := program(t, `for { fmt.Println(os.Args) }`)
	source, err := Generator(dir, "seed", 1, 1).Open(context.Background())
	require.NoError(t, err)
	_, err = source.Read(make([]byte, 10))
	require.NoError(t, err)
	require.NoError(t, source.Close())
}

// program writes a Go program into a folder seed.
func program(t *testing.T, body string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "seed"), 0o700))
	source := "package main\n\nimport (\n\t\"fmt\"\n\t\"os\"\n)\n\nfunc main() {\n\t_ = os.Args\n\tfmt.Print()\n\t" + body + "\n}\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "seed", "main.go"), []byte(source), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.com/seed\n\ngo 1.26\n"), 0o600))
	return dir
}

func generate(t *testing.T, dir string) (string, error) {
	t.Helper()
	source, err := Generator(dir, "seed", 12, 34).Open(context.Background())
	if err != nil {
		return "", err
	}
	defer func() { require.NoError(t, source.Close()) }()
	output, err := io.ReadAll(source)
	return string(output), err
}
