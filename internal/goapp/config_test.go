package goapp

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func secretFile(t *testing.T, secret string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(path, []byte(secret), 0o600))
	return path
}

func environmentWith(t *testing.T, changes map[string]string) func(string) string {
	t.Helper()
	variables := map[string]string{
		"DATABASE_URL":           "postgres://go@postgres:5432/p2k16",
		"DATABASE_PASSWORD_FILE": secretFile(t, "of postgres"),
		"REDIS_URL":              "redis://redis:6379/1",
		"REDIS_PASSWORD_FILE":    secretFile(t, "of redis\n"),
		"SECRET_KEY_FILE":        secretFile(t, "of both systems\n"),
		"SMTP_ADDR":              "sink:2502",
		"HOOK_URL":               "http://sink:8002",
		"PUBLIC_URL":             "http://localhost:8080",
	}
	maps.Copy(variables, changes)
	return func(name string) string { return variables[name] }
}

func TestLoadConfig_Defaults(t *testing.T) {
	config, err := LoadConfig(environmentWith(t, nil))
	require.NoError(t, err)
	assert.Equal(t, time.Hour, config.SessionTTL)
	assert.True(t, config.CookieSecure)
	assert.Equal(t, ":8080", config.Listen)
	assert.Equal(t, "of both systems", string(config.SecretKey))
	assert.Equal(t, time.Hour, config.ResetTTL)
	assert.Equal(t, 12, config.BcryptCost)
	assert.Equal(t, 31*24*time.Hour, config.OldSessions)
	assert.Equal(t, 20, config.Failures)
	assert.Empty(t, config.OldKeys)
	assert.False(t, config.Jobs)
	assert.Equal(t, 5*time.Second, config.JobInterval)

	postgres := config.Database.ConnConfig
	assert.Equal(t, "postgres:5432 go p2k16", postgres.Host+":5432 "+postgres.User+" "+postgres.Database)
	assert.Equal(t, "of postgres", postgres.Password)
	assert.Equal(t, map[string]string{"application_name": "go", "timezone": "UTC", "statement_timeout": "1500"}, postgres.RuntimeParams)
	assert.EqualValues(t, 10, config.Database.MaxConns)

	assert.Equal(t, "redis:6379", config.Redis.Addr)
	assert.Equal(t, 1, config.Redis.DB)
	assert.Equal(t, "of redis", config.Redis.Password)
}

func TestLoadConfig_Settings(t *testing.T) {
	config, err := LoadConfig(environmentWith(t, map[string]string{
		"SESSION_TTL": "60", "COOKIE_SECURE": "false", "DATABASE_MAX_CONNS": "25", "LISTEN_ADDR": "127.0.0.1:0", "TZ": "UTC",
		"BCRYPT_COST": "6", "RESET_TTL": "5", "JOBS": "true", "JOB_INTERVAL": "1", "PUBLIC_URL": "https://p2k16.example/members",
		"OLD_SESSION_TTL": "7", "LOGIN_FAILURES": "3", "SECRET_KEY_FALLBACKS_FILE": secretFile(t, "older\n\r\noldest"),
	}))
	require.NoError(t, err)
	assert.Equal(t, time.Minute, config.SessionTTL)
	assert.False(t, config.CookieSecure)
	assert.EqualValues(t, 25, config.Database.MaxConns)
	assert.Equal(t, "127.0.0.1:0", config.Listen)
	assert.Equal(t, 6, config.BcryptCost)
	assert.Equal(t, 7*time.Second, config.OldSessions)
	assert.Equal(t, 3, config.Failures)
	assert.Equal(t, [][]byte{[]byte("older"), []byte("oldest")}, config.OldKeys)
	assert.Equal(t, 5*time.Second, config.ResetTTL)
	assert.True(t, config.Jobs)
	assert.Equal(t, time.Second, config.JobInterval)
	assert.Equal(t, "https://p2k16.example/members", config.PublicURL)
}

func TestLoadConfig_RefusalsNameTheVariable(t *testing.T) {
	for _, test := range []struct{ variable, value, message string }{
		{"DATABASE_URL", "", "must be set, like postgres://user@host:5432/database"},
		{"DATABASE_URL", "mysql://x", "must be set"},
		{"DATABASE_URL", "postgres://go@postgres:port/p2k16", "is malformed"},
		{"DATABASE_PASSWORD_FILE", "", "is not set"},
		{"DATABASE_PASSWORD_FILE", "/nowhere", "names a file that cannot be read"},
		{"DATABASE_MAX_CONNS", "0", `must be a whole number above 0, not "0"`},
		{"REDIS_URL", "", "must be set, like redis://redis:6379/1"},
		{"REDIS_URL", "http://redis", "must be set"},
		{"REDIS_PASSWORD_FILE", "", "is not set"},
		{"REDIS_PASSWORD_FILE", secretFile(t, "\n"), "names an empty file"},
		{"SESSION_TTL", "1h", "must be a whole number"},
		{"SESSION_TTL", "-1", "must be a whole number"},
		{"SESSION_TTL", "99999999999", "must be a whole number"},
		{"COOKIE_SECURE", "yes", `must be "true" or "false", not "yes"`},
		{"TZ", "Europe/Nowhere", "is not a time zone"},
		{"SECRET_KEY_FILE", "", "is not set"},
		{"SMTP_ADDR", "", "must be set, like host:2501"},
		{"SMTP_ADDR", "sink", "must be set"},
		{"SMTP_ADDR", ":2501", "must be set"},
		{"SMTP_ADDR", "sink:mail", "must be set"},
		{"HOOK_URL", "", "must be set, like http://host:8001"},
		{"HOOK_URL", "https://sink", "must be set"},
		{"HOOK_URL", "http://", "must be set"},
		{"HOOK_URL", "http://sink/?x", "must be set"},
		{"PUBLIC_URL", "", "must be set"},
		{"PUBLIC_URL", "http://localhost/", "must be set"},
		{"PUBLIC_URL", "localhost:8080", "must be set"},
		{"BCRYPT_COST", "3", "must be from 4 to 14, not 3"},
		{"BCRYPT_COST", "15", "must be from 4 to 14"},
		{"BCRYPT_COST", "x", "must be a whole number"},
		{"RESET_TTL", "0", "must be a whole number"},
		{"JOBS", "1", `must be "true" or "false"`},
		{"JOB_INTERVAL", "1s", "must be a whole number"},
	} {
		_, err := LoadConfig(environmentWith(t, map[string]string{test.variable: test.value}))
		assert.ErrorContains(t, err, test.variable+" "+test.message)
	}
}

func TestLoadConfig_TellsAllProblemsAndNoSecret(t *testing.T) {
	_, err := LoadConfig(environmentWith(t, map[string]string{
		"SESSION_TTL": "x", "COOKIE_SECURE": "x",
		"DATABASE_URL": "postgres://go:hunter2@postgres:port/p2k16", "REDIS_URL": "redis://:hunter2@redis:port/1",
	}))
	for _, variable := range []string{"SESSION_TTL", "COOKIE_SECURE", "DATABASE_URL", "REDIS_URL"} {
		assert.ErrorContains(t, err, variable)
	}
	assert.NotContains(t, err.Error(), "hunter2")
}
