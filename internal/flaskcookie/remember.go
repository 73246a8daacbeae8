package flaskcookie

import (
	"crypto/hmac"
	"crypto/sha512"
	"encoding/hex"
	"strings"
)

// Remember returns Flask-Login's remember_token for a user.
func Remember(secret []byte, userID string) string {
	return userID + "|" + rememberMAC(secret, userID)
}

// Remembered returns whose a remember_token is, "" if the secret did not make
// it. Flask-Login knows no fallback keys.
func Remembered(secret []byte, token string) string {
	end := strings.LastIndexByte(token, '|')
	if end < 0 || len(token) > maxCookie {
		return ""
	}
	userID := token[:end]
	if !hmac.Equal([]byte(rememberMAC(secret, userID)), []byte(token[end+1:])) {
		return ""
	}
	return userID
}

// Private

func rememberMAC(secret []byte, userID string) string {
	mac := hmac.New(sha512.New, secret)
	_, _ = mac.Write([]byte(userID)) // never fails
	return hex.EncodeToString(mac.Sum(nil))
}
