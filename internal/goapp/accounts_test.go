package goapp

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
)

func TestDatabaseError_TellsAbsenceFromBugs(t *testing.T) {
	assert.NoError(t, databaseError(nil))
	for name, test := range map[string]struct {
		err      error
		expected problem
	}{
		"deadline":          {context.DeadlineExceeded, errUnavailable},
		"broken connection": {errors.New("unexpected EOF"), errUnavailable},
		"cannot connect":    {&pgconn.ConnectError{}, errUnavailable},
		"starting up":       {&pgconn.PgError{Code: "57P03"}, errUnavailable},
		"statement timeout": {&pgconn.PgError{Code: "57014"}, errUnavailable},
		"too many clients":  {&pgconn.PgError{Code: "53300"}, errUnavailable},
		"missing table":     {&pgconn.PgError{Code: "42P01"}, errInternal},
		"unreadable value":  {pgx.ScanArgError{Err: errors.New("x")}, errInternal},
	} {
		t.Run(name, func(t *testing.T) {
			err := databaseError(test.err)
			assert.Equal(t, test.expected, toProblem(err))
			assert.ErrorIs(t, err, test.err)
		})
	}
}

func TestSearch_TakesWildcardsLiterally(t *testing.T) {
	assert.Equal(t, `100\%\_\\a`, literally.Replace(`100%_\a`))
}

func TestPostgres_FindsNothingWithNUL(t *testing.T) {
	var unconnected postgres
	_, err := unconnected.byLogin(t.Context(), "ad\x00min")
	assert.ErrorIs(t, err, errNoAccount)
	found, total, err := unconnected.search(t.Context(), "\x00", 0, 20)
	assert.NoError(t, err)
	assert.Empty(t, found)
	assert.Zero(t, total)
}
