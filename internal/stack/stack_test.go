package stack

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestContextHashDependsOnContentAndNotOnTime(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(content), mode))
		require.NoError(t, os.Chmod(path, mode))
	}
	hash := func() string {
		digest, err := packContext(io.Discard, dir, []string{"."})
		require.NoError(t, err)
		return digest
	}
	write("a", "1", 0o644)
	write("sub/b", "2", 0o644)
	first := hash()

	require.NoError(t, os.Chtimes(filepath.Join(dir, "a"), time.Now(), time.Now().Add(time.Hour)))
	write("sub/__pycache__/c.pyc", "cache", 0o644)
	assert.Equal(t, first, hash(), "times and caches do not count")

	write("a", "1", 0o755)
	executable := hash()
	assert.NotEqual(t, first, executable, "the executable bit counts")
	write("a", "2", 0o755)
	assert.NotEqual(t, executable, hash(), "content counts")
}

func TestMissingContextNamesTheFile(t *testing.T) {
	_, err := packContext(io.Discard, t.TempDir(), []string{"nothing"})
	assert.ErrorContains(t, err, "nothing")
}

func TestSecretsAreCompletedAndKept(t *testing.T) {
	fresh, changed := complete(Secrets{})
	assert.True(t, changed)
	assert.Equal(t, fresh["redis/password"], fresh["flask/redis_password"])
	assert.Equal(t, fresh["flask/secret_key"], fresh["goapp/secret_key"])
	assert.NotEqual(t, fresh["postgres/python_password"], fresh["postgres/go_password"])
	assert.Len(t, fresh["nginx/force_token"], 43)

	again, changed := complete(fresh)
	assert.False(t, changed)
	assert.Equal(t, fresh, again)

	delete(fresh, "guard/redis_password")
	mended, changed := complete(fresh)
	assert.True(t, changed)
	assert.Equal(t, again, mended, "a copy that is lost is made again from the first")
}

func TestSecretsArePackedForTheirOwnersAlone(t *testing.T) {
	secrets, _ := complete(Secrets{})
	content, err := packSecrets(secrets)
	require.NoError(t, err)
	archive := tar.NewReader(content)
	found := map[string]string{}
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		assert.NotZero(t, header.Uid, header.Name)
		assert.Equal(t, header.Uid, header.Gid, header.Name)
		if service, _, _ := strings.Cut(header.Name, "/"); service != "guard" {
			assert.NotEqual(t, owners()["guard"], header.Gid, header.Name)
		}
		if header.Typeflag == tar.TypeDir {
			assert.EqualValues(t, 0o750, header.Mode, header.Name)
			continue
		}
		assert.EqualValues(t, 0o440, header.Mode, header.Name)
		value, err := io.ReadAll(archive)
		require.NoError(t, err)
		found[header.Name] = string(value)
	}
	assert.Equal(t, map[string]string(secrets), found)
}

func TestFindRootLooksUpwards(t *testing.T) {
	root, err := FindRoot(".")
	require.NoError(t, err)
	assert.FileExists(t, filepath.Join(root, composeFile))
	_, err = FindRoot(t.TempDir())
	assert.ErrorIs(t, err, ErrSettings)
}

func TestProjectNamesThatComposeWouldRefuse(t *testing.T) {
	for _, name := range []string{"", "Ab", "a b", "-a", "ä", "a/b"} {
		assert.ErrorIs(t, ValidateProject(name), ErrSettings, name)
	}
	assert.NoError(t, ValidateProject("cutover-e2e_1"))
}

func TestPrivateFilesAreReplacedWholeAndForTheOwnerAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "file")
	require.NoError(t, writePrivate(path, []byte("one")))
	require.NoError(t, writePrivate(path, []byte("two")))
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "two", string(content))
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	assert.Len(t, entries, 1, "no temporary file stays behind")
}

func TestServiceOfAContainer(t *testing.T) {
	assert.Equal(t, "nginx", serviceOf("cutover-nginx-1"))
	assert.Equal(t, "goapp", serviceOf("my-project-goapp-1"))
	assert.Equal(t, "odd", serviceOf("odd"))
}

func TestTailKeepsTheEnd(t *testing.T) {
	var end tail
	_, _ = end.Write(bytes.Repeat([]byte("x"), 10000))
	_, _ = end.Write([]byte("the end"))
	assert.LessOrEqual(t, len(end.kept), 4<<10)
	assert.True(t, bytes.HasSuffix(end.kept, []byte("the end")))
}
