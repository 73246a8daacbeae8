package goapp

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-crypt/crypt/algorithm/shacrypt"
	"golang.org/x/crypto/bcrypt"
)

// The time of SHA-512 crypt grows with the password. The legacy system has the
// same limit.
const maxSHA512Password = 4096

// matcher reports whether a password belongs to one hash.
type matcher func(password string) bool

// parseHash reads the two kinds of hashes that p2k16's accounts have.
func parseHash(hash string) (matcher, error) {
	switch {
	case strings.HasPrefix(hash, "$2b$"):
		if _, err := bcrypt.Cost([]byte(hash)); err != nil {
			return nil, err
		}
		return matchBcrypt(hash), nil
	case strings.HasPrefix(hash, "$6$"):
		digest, err := shacrypt.Decode(hash)
		if err != nil {
			return nil, err
		}
		return func(password string) bool {
			return utf8.RuneCountInString(password) <= maxSHA512Password && digest.Match(password)
		}, nil
	default:
		return nil, errors.New("the password hash is neither bcrypt nor SHA-512 crypt")
	}
}

// matchBcrypt looks at a password's first 72 bytes only, as bcrypt everywhere.
func matchBcrypt(hash string) matcher {
	return func(password string) bool {
		return bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil
	}
}

// A new password has to be long enough to be one, and short enough to be typed.
const (
	minNewPassword = 8
	maxNewPassword = 1000
)

func goodPassword(password string) bool {
	length := utf8.RuneCountInString(password)
	return length >= minNewPassword && length <= maxNewPassword && !strings.ContainsRune(password, 0)
}

// hashPassword makes the hash that both systems read. Like bcrypt everywhere it
// looks at the first 72 bytes only.
func hashPassword(password string, cost int) (string, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(password)[:min(len(password), maxBcryptPassword)], cost)
	if err != nil {
		return "", fmt.Errorf("the password could not be hashed: %w", err)
	}
	// Go says $2a$ for what it does, which is what the others call $2b$.
	return "$2b$" + strings.TrimPrefix(string(hash), "$2a$"), nil
}

const maxBcryptPassword = 72

// passwords checks passwords, and takes as long for users that do not exist.
type passwords struct {
	decoy matcher
	// refusal is the least time that a refused login takes: longer than any of
	// the hashes, some of which are dearer than others.
	refusal time.Duration
}

// shortestRefusal is for hashes that cost next to nothing.
const shortestRefusal = 50 * time.Millisecond

// newPasswords makes a decoy that is as dear as the hashes of new passwords.
func newPasswords(cost int) (*passwords, error) {
	var hash string
	fastest := time.Hour
	for range 3 { // the machine may be busy with other work
		began := time.Now()
		var err error
		if hash, err = hashPassword(rand.Text(), cost); err != nil {
			return nil, err
		}
		fastest = min(fastest, time.Since(began))
	}
	return &passwords{decoy: matchBcrypt(hash), refusal: max(2*fastest, shortestRefusal)}, nil
}

// match reports whether the password belongs to the hash. A hash that cannot
// be read belongs to none.
func (p *passwords) match(hash, password string) bool {
	matches, err := parseHash(hash)
	if err != nil || strings.ContainsRune(password, 0) { // which C's crypt would cut there
		p.mismatch(password)
		return false
	}
	return matches(password)
}

// mismatch spends the time of match on a user who does not exist.
func (p *passwords) mismatch(password string) {
	p.decoy(password)
}

// pause lets a refused login take as long as any other.
func (p *passwords) pause(began time.Time) {
	time.Sleep(p.refusal - time.Since(began))
}
