package goapp

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Hashes made by other implementations: passlib, OpenSSL, and bcrypt at its
// least cost.
const (
	bcryptRehearsal = "$2b$04$r43ak1MScXg1.JP8tt4mbu3lFgMc2mt9QN0OKtxO7bYIyNu0O1zdC"
	bcrypt72As      = "$2b$04$sftxY2of1HIYq7KATzxt6uAyOMIAzkBPiz2i4Gsd8Cq.hP.PuZ7Gq"
	bcryptUnicode   = "$2b$04$yfOsohvuBGwdFw6HOMIExOcm4AZdEJa8mqkOyR31kVkVZrVEXQmli"
	bcryptNUL       = "$2b$04$bl25aFOxuuBWrw8XEpRlWuKFmy9uyejok8qjG2UR4d7iA/YZ5.aQq"
	sha512Rehearsal = "$6$saltysalt$x80HZuLlEzR9uQb4CZSaDVHog0FlyOC.E9vk/c2.kOr.yCczEfmSvu3ffSV5px.ZkU8bmAgLwTO1J.gCR0gUR0"
	sha512Unicode   = "$6$saltysalt$OMGeg1MHjlCu8HxhEZgS2yRiiZD5Zt/XaRvJ9P9/n0MnvdLIk0rUsHZ6QJvY/nsEzQxhsY7bcErQgtR8pDpkD."
	sha512Rounds    = "$6$rounds=1234$0123456789abcdef$U1FvIaSDdSLPxXrq/7fBxhexcUYiqH7IL250JsoW2EzLjbG6qJoWUw6/.nq4ztHMVge25E1CKO2DDqpZ3utQC/"
	sha512NoSalt    = "$6$$qdKwyk3h6dHQDRMU.xK.KP1xlOFHEfqddH0N.h85HERg5kZ3Jb5c0ednKDYHplxBySfXjZUse2A8q.fpHtFN5/"
)

func TestPasswords_Match(t *testing.T) {
	for _, test := range []struct {
		name, hash, password string
		match                bool
	}{
		{"bcrypt", bcryptRehearsal, "rehearsal", true},
		{"bcrypt, wrong", bcryptRehearsal, "Rehearsal", false},
		{"bcrypt, empty", bcryptRehearsal, "", false},
		{"bcrypt, 72 bytes", bcrypt72As, strings.Repeat("a", 72), true},
		{"bcrypt sees no more than 72 bytes", bcrypt72As, strings.Repeat("a", 72) + "other", true},
		{"bcrypt sees all 72 bytes", bcrypt72As, strings.Repeat("a", 71) + "b", false},
		{"bcrypt, beyond ASCII", bcryptUnicode, "blåbær🫐", true},
		{"bcrypt, not normalised", bcryptUnicode, "bla\u030abær🫐", false},
		{"bcrypt, NUL", bcryptNUL, "aa\x00bb", false},
		{"SHA-512", sha512Rehearsal, "rehearsal", true},
		{"SHA-512, wrong", sha512Rehearsal, "rehearsa", false},
		{"SHA-512, NUL", sha512Rehearsal, "rehearsal\x00", false},
		{"SHA-512, beyond ASCII", sha512Unicode, "blåbær🫐", true},
		{"SHA-512, rounds and a long password", sha512Rounds, strings.Repeat("x", 300), true},
		{"SHA-512, no salt", sha512NoSalt, "rehearsal", true},
		{"SHA-512, too long", sha512Rounds, strings.Repeat("x", maxSHA512Password+1), false},
		{"no hash", "", "", false},
		{"plain text", "rehearsal", "rehearsal", false},
		{"another kind", "$1$salt$hash", "rehearsal", false},
		{"bcrypt, cut off", bcryptRehearsal[:40], "rehearsal", false},
		{"bcrypt, cost out of range", strings.Replace(bcryptRehearsal, "$04$", "$99$", 1), "rehearsal", false},
		{"SHA-512, cut off", "$6$saltysalt$", "rehearsal", false},
		{"SHA-512, malformed rounds", "$6$rounds=x$salt$hash", "rehearsal", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			assert.Equal(t, test.match, testPasswords(t).match(test.hash, test.password))
		})
	}
}

func testPasswords(t *testing.T) *passwords {
	t.Helper()
	p, err := newPasswords(minBcryptCost)
	require.NoError(t, err)
	return p
}

func TestPasswords_UnknownUsersAreCheckedToo(t *testing.T) {
	p := testPasswords(t)
	asked := 0
	p.decoy = func(string) bool { asked++; return true }
	p.mismatch("x")
	assert.False(t, p.match("not a hash", "x"), "though the decoy matches")
	assert.Equal(t, 2, asked)
}

func TestPasswords_RefusalsTakeLongerThanAnyHash(t *testing.T) {
	assert.Equal(t, shortestRefusal, testPasswords(t).refusal)
	p, err := newPasswords(11)
	require.NoError(t, err)
	assert.Greater(t, p.refusal, shortestRefusal, "it grows with the cost of the hashes")
}
