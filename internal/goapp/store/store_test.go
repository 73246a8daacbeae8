package store

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
)

func TestClassify_TellsAbsenceFromBugs(t *testing.T) {
	assert.NoError(t, classify(nil))
	for name, test := range map[string]struct {
		err  error
		away bool
	}{
		"deadline":          {context.DeadlineExceeded, true},
		"broken connection": {errors.New("unexpected EOF"), true},
		"cannot connect":    {&pgconn.ConnectError{}, true},
		"starting up":       {&pgconn.PgError{Code: "57P03"}, true},
		"statement timeout": {&pgconn.PgError{Code: "57014"}, true},
		"too many clients":  {&pgconn.PgError{Code: "53300"}, true},
		"missing table":     {&pgconn.PgError{Code: "42P01"}, false},
		"unreadable value":  {pgx.ScanArgError{Err: errors.New("x")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			err := classify(test.err)
			assert.Equal(t, test.away, errors.Is(err, ErrUnavailable))
			assert.ErrorIs(t, err, test.err)
			assert.Equal(t, err, classify(err), "once is enough")
		})
	}
	assert.Equal(t, ErrNoTool, classify(ErrNoTool))
}

func TestLiterally_TakesWildcardsAsTheyAre(t *testing.T) {
	assert.Equal(t, `100\%\_\\a`, literally.Replace(`100%_\a`))
}

func TestStore_FindsNothingWithNUL(t *testing.T) {
	var unconnected Store
	_, err := unconnected.AccountByLogin(t.Context(), "ad\x00min")
	assert.ErrorIs(t, err, ErrNoAccount)
	_, err = unconnected.AccountByEmail(t.Context(), "ad\x00min")
	assert.ErrorIs(t, err, ErrNoAccount)
	found, total, err := unconnected.Accounts(t.Context(), "\x00", Window{Limit: 20})
	assert.NoError(t, err)
	assert.Empty(t, found)
	assert.Zero(t, total)
}

func TestDisplayName(t *testing.T) {
	empty, name := "", "Ada"
	for expected, given := range map[string]*string{"ada": nil, "Ada": &name} {
		assert.Equal(t, expected, Account{Username: "ada", Name: given}.DisplayName())
	}
	assert.Equal(t, "ada", Account{Username: "ada", Name: &empty}.DisplayName())
}
