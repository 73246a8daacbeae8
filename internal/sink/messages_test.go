package sink

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestMessages_KeepTheNewest(t *testing.T) {
	m := newMessages()
	for range maxKept + 5 {
		m.add(&Message{System: Python, Kind: ByHTTP, HTTP: &Call{}}, time.Now())
	}
	m.add(&Message{System: Go, Kind: ByHTTP, HTTP: &Call{}}, time.Now())

	python, dropped := m.find(query{system: Python})
	all, droppedOfAll := m.find(query{})

	assert.Len(t, python, maxKept)
	assert.Equal(t, uint64(6), python[0].Seq)
	assert.Equal(t, 5, dropped)
	assert.Len(t, all, maxKept+1)
	assert.Equal(t, 5, droppedOfAll)
	m.forget()
	_, dropped = m.find(query{})
	assert.Zero(t, dropped)
}
