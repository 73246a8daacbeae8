package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSeedRefusesBadNumbers(t *testing.T) {
	for _, test := range []struct {
		args []string
		says string
	}{
		{[]string{"--accounts", "-1"}, "--accounts -1: 0 to 5000000"},
		{[]string{"--accounts", "5000001"}, "--accounts 5000001: 0 to 5000000"},
		{[]string{"--accounts", "many"}, `invalid argument "many" for "--accounts" flag`},
		{[]string{"--seed", "-1"}, `invalid argument "-1" for "--seed" flag`},
		{[]string{"extra"}, "cutover db seed --help"},
	} {
		code, out, stderr := run(t, append([]string{"db", "seed"}, test.args...)...)
		assert.Equal(t, ExitUsage, code, "%v: %s", test.args, stderr)
		assert.Contains(t, stderr, test.says, "%v", test.args)
		assert.Empty(t, out, "%v", test.args)
	}
}

func TestSeedNeedsAGeneratorForNumbers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plan.yaml")
	require.NoError(t, os.WriteFile(path, []byte("version: 1\nname: x\nroutes:\n  - name: all\n    prefix: /\n"), 0o600))
	code, _, stderr := run(t, "--plan", path, "db", "seed", "--accounts", "5")
	assert.Equal(t, ExitUsage, code, stderr)
	assert.Contains(t, stderr, "the plan x has no generator")
}
