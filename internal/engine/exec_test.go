package engine

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/iotest"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestConnReadsStandardOutputOutOfFrames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var stream, want, stderr bytes.Buffer
		for _, chunk := range rapid.SliceOf(rapid.SliceOf(rapid.Byte())).Draw(t, "chunks") {
			number := rapid.SampledFrom([]byte{1, 2}).Draw(t, "stream")
			stream.Write(frame(number, chunk))
			if number == 1 {
				want.Write(chunk)
			} else {
				stderr.Write(chunk)
			}
		}
		conn := &Conn{target: "x", hijacked: types.HijackedResponse{Reader: bufio.NewReader(iotest.OneByteReader(&stream))}}
		got, err := io.ReadAll(conn)
		assert.Equal(t, want.String(), string(got))
		if stderr.Len() == 0 {
			assert.NoError(t, err)
		} else {
			assert.Error(t, err)
		}
		assert.Equal(t, stderr.String(), conn.stderr.String())
	})
}

func TestConnEndsWithWhatTheCommandSaidOnStandardError(t *testing.T) {
	stream := bytes.NewReader(append(frame(1, []byte("ok")), frame(2, []byte("no such host\n"))...))
	conn := &Conn{target: "guard: dial tcp x:1", hijacked: types.HijackedResponse{Reader: bufio.NewReader(stream)}}
	got, err := io.ReadAll(conn)
	assert.Equal(t, "ok", string(got))
	assert.EqualError(t, err, "guard: dial tcp x:1: no such host")
}

func TestConnGoesOnAfterADeadlineInTheMiddleOfAHeader(t *testing.T) {
	client, server := net.Pipe()
	defer func() { _ = client.Close(); _ = server.Close() }()
	conn := &Conn{target: "x", hijacked: types.HijackedResponse{Conn: client, Reader: bufio.NewReader(client)}}
	whole := frame(1, []byte("late"))
	go func() { _, _ = server.Write(whole[:3]) }()
	buffer := make([]byte, 16)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err := conn.Read(buffer)
	require.True(t, errors.Is(err, os.ErrDeadlineExceeded), "%v", err)
	require.NoError(t, conn.SetReadDeadline(time.Time{}))
	go func() { _, _ = server.Write(whole[3:]) }()
	n, err := conn.Read(buffer)
	require.NoError(t, err)
	assert.Equal(t, "late", string(buffer[:n]))
}

func TestOlderComparesVersionsAsNumbers(t *testing.T) {
	assert.True(t, older("1.40", "1.41"))
	assert.False(t, older("1.41", "1.41"))
	assert.False(t, older("1.100", "1.41"))
	assert.False(t, older("2.0", "1.41"))
	assert.True(t, older("nonsense", "1.41"))
}

func frame(stream byte, payload []byte) []byte {
	header := make([]byte, 8)
	header[0] = stream
	binary.BigEndian.PutUint32(header[4:], uint32(len(payload)))
	return append(header, payload...)
}
