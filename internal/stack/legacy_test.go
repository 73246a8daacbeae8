package stack

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// archived makes an archive of small members, and returns its path.
func archived(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"about", "image.tar", "source.tar", "more"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("what "+name+" holds"), 0o600))
	}
	path := filepath.Join(dir, "archive.tar")
	require.NoError(t, packMembers(dir, path, names...))
	return path
}

func TestArchive_IsWholeAsItWasMade(t *testing.T) {
	path := archived(t, "about", "image.tar", "source.tar")
	require.NoError(t, (&Stack{}).verifyArchive(path))
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	assert.Equal(t, []string{"SHA256SUMS", "about", "image.tar", "source.tar"}, members(t, path))
	require.ErrorIs(t, packMembers(filepath.Dir(path), path, "about"), os.ErrExist, "nothing is written over")
}

func TestArchive_WithoutAMemberIsNone(t *testing.T) {
	for _, names := range [][]string{{}, {"about"}, {"about", "image.tar"}, {"image.tar", "source.tar"}} {
		assert.Error(t, (&Stack{}).verifyArchive(archived(t, names...)), "%v", names)
	}
	assert.NoError(t, (&Stack{}).verifyArchive(archived(t, "about", "image.tar", "source.tar", "more")), "more is no harm")
	_, err := sumOf(filepath.Join(t.TempDir(), "nothing"))
	require.ErrorIs(t, err, os.ErrNotExist)
	assert.Error(t, packMembers(t.TempDir(), filepath.Join(t.TempDir(), "x.tar"), "about"))
}

// A copy that ended early is no archive, wherever it ended before the end of
// the last member.
func TestArchive_CutOffIsNone(t *testing.T) {
	path := archived(t, "about", "image.tar", "source.tar")
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	end := bytes.LastIndex(content, []byte("holds")) + len("holds")
	cut := filepath.Join(t.TempDir(), "cut.tar")
	for length := end - 1; length >= 0; length -= 7 {
		require.NoError(t, os.WriteFile(cut, content[:length], 0o600))
		require.Error(t, (&Stack{}).verifyArchive(cut), "%d of %d bytes", length, len(content))
	}
}

// Whatever bit is wrong, either it is noticed or nothing that is kept differs:
// some bits of a tar mean nothing.
func TestArchive_WithAWrongBitIsNone(t *testing.T) {
	path := archived(t, "about", "image.tar", "source.tar")
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	want := contents(t, path)
	wrong, noticed := filepath.Join(t.TempDir(), "wrong.tar"), 0
	for at := 0; at < len(content); at += 5 {
		content[at] ^= 1 << (at % 8)
		require.NoError(t, os.WriteFile(wrong, content, 0o600))
		if (&Stack{}).verifyArchive(wrong) != nil {
			noticed++
		} else {
			require.Equal(t, want, contents(t, wrong), "byte %d", at)
		}
		content[at] ^= 1 << (at % 8)
	}
	assert.Greater(t, noticed, 4*512/5, "the headers at least")
}

func TestArchive_OfAnotherFormIsNone(t *testing.T) {
	type member struct{ name, content string }
	sums := func(names ...string) string {
		text := ""
		for _, name := range names {
			path := filepath.Join(t.TempDir(), name)
			require.NoError(t, os.WriteFile(path, []byte(name), 0o600))
			sum, err := sumOf(path)
			require.NoError(t, err)
			text += sum + "  " + name + "\n"
		}
		return text
	}
	all := []string{"about", "image.tar", "source.tar"}
	for name, c := range map[string]struct {
		members []member
		whole   bool
	}{
		"whole":                    {[]member{{"SHA256SUMS", sums(all...)}, {"about", "about"}, {"image.tar", "image.tar"}, {"source.tar", "source.tar"}}, true},
		"in another order":         {[]member{{"SHA256SUMS", sums(all...)}, {"source.tar", "source.tar"}, {"image.tar", "image.tar"}, {"about", "about"}}, true},
		"empty":                    {nil, false},
		"only sums":                {[]member{{"SHA256SUMS", sums(all...)}}, false},
		"empty sums":               {[]member{{"SHA256SUMS", ""}}, false},
		"sums of nothing":          {[]member{{"SHA256SUMS", ""}, {"about", "about"}, {"image.tar", "image.tar"}, {"source.tar", "source.tar"}}, false},
		"without sums":             {[]member{{"about", "about"}, {"image.tar", "image.tar"}, {"source.tar", "source.tar"}}, false},
		"sums at the end":          {[]member{{"about", "about"}, {"image.tar", "image.tar"}, {"source.tar", "source.tar"}, {"SHA256SUMS", sums(all...)}}, false},
		"sums twice":               {[]member{{"SHA256SUMS", sums(all...)}, {"SHA256SUMS", sums(all...)}, {"about", "about"}, {"image.tar", "image.tar"}, {"source.tar", "source.tar"}}, false},
		"a member twice":           {[]member{{"SHA256SUMS", sums(all...)}, {"about", "about"}, {"about", "about"}, {"image.tar", "image.tar"}, {"source.tar", "source.tar"}}, false},
		"a member that is unknown": {[]member{{"SHA256SUMS", sums(all...)}, {"about", "about"}, {"image.tar", "image.tar"}, {"source.tar", "source.tar"}, {"more", "more"}}, false},
		"a member that is missing": {[]member{{"SHA256SUMS", sums(append(all, "more")...)}, {"about", "about"}, {"image.tar", "image.tar"}, {"source.tar", "source.tar"}}, false},
		"another content":          {[]member{{"SHA256SUMS", sums(all...)}, {"about", "about"}, {"image.tar", "image.tar"}, {"source.tar", "sauce.tar"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.tar")
			file, err := os.Create(path)
			require.NoError(t, err)
			archive := tar.NewWriter(file)
			for _, m := range c.members {
				require.NoError(t, archive.WriteHeader(&tar.Header{Name: m.name, Mode: 0o644, Size: int64(len(m.content))}))
				_, err := io.WriteString(archive, m.content)
				require.NoError(t, err)
			}
			require.NoError(t, errors.Join(archive.Close(), file.Close()))
			assert.Equal(t, c.whole, (&Stack{}).verifyArchive(path) == nil)
		})
	}
	noTar := filepath.Join(t.TempDir(), "x.tar")
	require.NoError(t, os.WriteFile(noTar, bytes.Repeat([]byte("no tar "), 500), 0o600))
	assert.Error(t, (&Stack{}).verifyArchive(noTar))
	assert.ErrorIs(t, (&Stack{}).verifyArchive(filepath.Join(t.TempDir(), "nothing")), os.ErrNotExist)
}

func TestVerifyArchive_TakesTheNewestAndNeverAHalfMadeOne(t *testing.T) {
	root := t.TempDir()
	s := &Stack{settings: Settings{Root: root, Project: "p"}}
	dir := filepath.Join(s.Dir(), archiveDir)
	path, err := s.VerifyArchive()
	require.ErrorIs(t, err, ErrNoArchive)
	assert.Equal(t, dir, path)

	require.NoError(t, os.MkdirAll(filepath.Join(dir, ".new-123"), 0o700))
	put := func(name, from string, age time.Duration) string {
		content, err := os.ReadFile(from)
		require.NoError(t, err)
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, content, 0o600))
		require.NoError(t, os.Chtimes(path, time.Now(), time.Now().Add(-age)))
		return path
	}
	whole := archived(t, "about", "image.tar", "source.tar")
	put(".new-123/archive.tar", whole, 0)
	put(".new-123/image.tar", whole, 0)
	_, err = s.VerifyArchive()
	require.ErrorIs(t, err, ErrNoArchive, "what was left behind half-made")

	older := put("python-1.tar", whole, time.Hour)
	path, err = s.VerifyArchive()
	require.NoError(t, err)
	assert.Equal(t, older, path)
	half := put("python-2.tar", archived(t, "about"), time.Minute)
	path, err = s.VerifyArchive()
	require.Error(t, err, "the newest one counts")
	assert.NotErrorIs(t, err, ErrNoArchive)
	assert.Equal(t, half, path)
}

func TestPackSource_HasTheSource(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "app", "__pycache__"), 0o755))
	for _, name := range []string{"setup.py", "app/main.py", "app/.hidden", "app/__pycache__/main.pyc"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644))
	}
	path := filepath.Join(t.TempDir(), "source.tar")
	require.NoError(t, packSource(dir, path))
	assert.Equal(t, []string{"app/.hidden", "app/main.py", "setup.py"}, members(t, path))
	assert.Error(t, packSource(filepath.Join(dir, "nothing"), filepath.Join(t.TempDir(), "x.tar")))
}

func members(t *testing.T, path string) (names []string) {
	t.Helper()
	walk(t, path, func(name string, _ []byte) { names = append(names, name) })
	return names
}

// contents are what is kept: the members, and not their sums.
func contents(t *testing.T, path string) map[string]string {
	t.Helper()
	found := map[string]string{}
	walk(t, path, func(name string, content []byte) {
		if name != sumsFile {
			found[name] = string(content)
		}
	})
	return found
}

func walk(t *testing.T, path string, visit func(name string, content []byte)) {
	t.Helper()
	file, err := os.Open(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, file.Close()) }()
	archive := tar.NewReader(file)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		require.NoError(t, err)
		content, err := io.ReadAll(archive)
		require.NoError(t, err)
		visit(header.Name, content)
	}
}
