// Package session is the session record that both systems share: a JSON
// object in Redis, found by the id in a cookie.
package session
