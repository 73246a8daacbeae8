package goapp

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
)

// Config is what the environment says, parsed and checked.
type Config struct {
	Listen       string
	AssetsDir    string // holds Debian's htmx.min.js
	Database     *pgxpool.Config
	Redis        *redis.Options
	CookieSecure bool
	SecretKey    []byte
	OldKeys      [][]byte // of before SECRET_KEY: they verify, and sign no more
	OldSessions  time.Duration
	Failures     int // of logins, within failureWindow
	SMTPAddr     string
	HookURL      string
	Jobs         bool
	JobInterval  time.Duration
	Settings
}

// Settings are what answers depend on.
type Settings struct {
	SessionTTL time.Duration
	ResetTTL   time.Duration
	PublicURL  string
	BcryptCost int
}

// bcrypt's costs: below there is no bcrypt, above a login takes seconds.
const (
	minBcryptCost     = 4
	maxBcryptCost     = 14
	defaultBcryptCost = 12
)

const defaultListen = ":8080"

// Limits within one request, which has requestTimeout in all.
const (
	connectTimeout   = time.Second
	statementTimeout = 1500 * time.Millisecond
)

// LoadConfig reads the configuration with getenv. Its error names every
// variable that is missing or malformed.
func LoadConfig(getenv func(string) string) (Config, error) {
	env := environment{getenv: getenv}
	config := Config{
		Listen:       env.text("LISTEN_ADDR", defaultListen),
		AssetsDir:    env.text("ASSETS_DIR", "/usr/share/javascript/htmx"),
		Database:     env.database(),
		Redis:        env.redis(),
		CookieSecure: env.boolean("COOKIE_SECURE", true),
		SecretKey:    env.secret("SECRET_KEY_FILE"),
		OldKeys:      env.secrets("SECRET_KEY_FALLBACKS_FILE"),
		OldSessions:  env.seconds("OLD_SESSION_TTL", 31*24*60*60),
		Failures:     env.number("LOGIN_FAILURES", 20),
		SMTPAddr:     env.address("SMTP_ADDR"),
		HookURL:      env.url("HOOK_URL", "http"),
		Jobs:         env.boolean("JOBS", false),
		JobInterval:  env.seconds("JOB_INTERVAL", 5),
		Settings: Settings{
			SessionTTL: env.seconds("SESSION_TTL", 3600),
			ResetTTL:   env.seconds("RESET_TTL", 3600),
			PublicURL:  env.url("PUBLIC_URL", "http", "https"),
			BcryptCost: env.number("BCRYPT_COST", defaultBcryptCost),
		},
	}
	if cost := config.BcryptCost; cost < minBcryptCost || cost > maxBcryptCost {
		env.refuse("BCRYPT_COST", "must be from %d to %d, not %d", minBcryptCost, maxBcryptCost, cost)
	}
	env.timeZone()
	return config, errors.Join(env.problems...)
}

// failureWindow is how long a failed login counts. The legacy system has the
// same, in the same counter.
const failureWindow = 15 * time.Minute

// environment reads variables and collects what is wrong with them.
type environment struct {
	getenv   func(string) string
	problems []error
}

func (e *environment) refuse(name, format string, args ...any) {
	e.problems = append(e.problems, fmt.Errorf(name+" "+format, args...))
}

func (e *environment) text(name, fallback string) string {
	if value := e.getenv(name); value != "" {
		return value
	}
	return fallback
}

func (e *environment) number(name string, fallback int) int {
	text := e.getenv(name)
	if text == "" {
		return fallback
	}
	number, err := strconv.ParseInt(text, 10, 32)
	if err != nil || number < 1 {
		e.refuse(name, "must be a whole number above 0, not %q", text)
		return fallback
	}
	return int(number)
}

func (e *environment) seconds(name string, fallback int) time.Duration {
	return time.Duration(e.number(name, fallback)) * time.Second
}

// address reads where a server listens.
func (e *environment) address(name string) string {
	address := e.getenv(name)
	host, port, err := net.SplitHostPort(address)
	if err == nil && host != "" {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || host == "" {
		e.refuse(name, "must be set, like host:2501, not %q", address)
	}
	return address
}

// url reads the beginning of addresses, to which a path is added.
func (e *environment) url(name string, schemes ...string) string {
	text := e.getenv(name)
	parsed, err := url.Parse(text)
	if err != nil || parsed.Hostname() == "" || parsed.RawQuery != "" || parsed.Fragment != "" || !slices.Contains(schemes, parsed.Scheme) || strings.HasSuffix(text, "/") {
		e.refuse(name, "must be set, like %s://host:8001, without a slash at its end, not %q", schemes[0], text)
	}
	return text
}

func (e *environment) boolean(name string, fallback bool) bool {
	switch text := e.getenv(name); text {
	case "":
		return fallback
	case "true", "false":
		return text == "true"
	default:
		e.refuse(name, `must be "true" or "false", not %q`, text)
		return fallback
	}
}

// secret reads the file that a variable names.
func (e *environment) secret(name string) []byte {
	path := e.getenv(name)
	if path == "" {
		e.refuse(name, "is not set; it names the file that holds the secret")
		return nil
	}
	secret, err := os.ReadFile(path)
	if err != nil {
		e.refuse(name, "names a file that cannot be read: %w", err)
		return nil
	}
	secret = bytes.TrimRight(secret, "\r\n")
	if len(secret) == 0 {
		e.refuse(name, "names an empty file, %s", path)
	}
	return secret
}

// secrets reads the file that a variable names, if it is set: a secret a line.
func (e *environment) secrets(name string) [][]byte {
	if e.getenv(name) == "" {
		return nil
	}
	var secrets [][]byte
	for line := range bytes.Lines(e.secret(name)) {
		if line = bytes.TrimRight(line, "\r\n"); len(line) > 0 {
			secrets = append(secrets, line)
		}
	}
	return secrets
}

func (e *environment) database() *pgxpool.Config {
	const name = "DATABASE_URL"
	url := e.getenv(name)
	password := e.secret("DATABASE_PASSWORD_FILE")
	maxConns := e.number("DATABASE_MAX_CONNS", 10)
	if !strings.HasPrefix(url, "postgres://") && !strings.HasPrefix(url, "postgresql://") {
		e.refuse(name, "must be set, like postgres://user@host:5432/database")
		return nil
	}
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		e.refuse(name, "is malformed: %w", err)
		return nil
	}
	config.MaxConns = int32(maxConns)
	config.ConnConfig.Password = string(password)
	config.ConnConfig.ConnectTimeout = connectTimeout
	config.ConnConfig.RuntimeParams["application_name"] = "go"
	config.ConnConfig.RuntimeParams["timezone"] = "UTC"
	config.ConnConfig.RuntimeParams["statement_timeout"] = strconv.FormatInt(statementTimeout.Milliseconds(), 10)
	return config
}

func (e *environment) redis() *redis.Options {
	const name = "REDIS_URL"
	password := e.secret("REDIS_PASSWORD_FILE")
	options, err := redis.ParseURL(e.getenv(name))
	if err != nil { // and may hold a password
		e.refuse(name, "must be set, like redis://redis:6379/1")
		return nil
	}
	options.Password = string(password)
	options.DialTimeout = connectTimeout
	options.ReadTimeout = connectTimeout
	options.WriteTimeout = connectTimeout
	options.ContextTimeoutEnabled = true
	// A write whose answer was lost must not be repeated blindly, and a
	// request that fails at once is better than one that waits for nothing.
	options.MaxRetries = -1
	options.DialerRetries = 1
	return options
}

// timeZone refuses a time zone that Go would silently replace by UTC.
func (e *environment) timeZone() {
	if name := e.getenv("TZ"); name != "" {
		if _, err := time.LoadLocation(name); err != nil {
			e.refuse("TZ", "is not a time zone: %w", err)
		}
	}
}
