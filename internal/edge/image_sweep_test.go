//go:build edgeimage

package edge_test

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// names begins what a process of this machine, or of this container, calls its
// own: other processes' numbers mean nothing here.
func names(pid int) string {
	namespace, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return fmt.Sprintf("edge-dev-0-%d-", pid)
	}
	return fmt.Sprintf("edge-dev-%s-%d-", strings.Trim(namespace, "pid:[]"), pid)
}

// sweep removes what test processes left behind that were killed.
func (r *rig) sweep() {
	r.t.Helper()
	for _, kind := range []struct{ list, remove []string }{
		{[]string{"ps", "--all", "--format", "{{.Names}}"}, []string{"rm", "--force", "--volumes"}},
		{[]string{"network", "ls", "--format", "{{.Name}}"}, []string{"network", "rm"}},
		{[]string{"images", "--format", "{{.Repository}}:{{.Tag}}"}, []string{"image", "rm", "--force"}},
	} {
		for name := range strings.Lines(r.docker(kind.list...)) {
			if name = strings.TrimSpace(name); abandoned(name) {
				// Another process may sweep too.
				if out, err := exec.Command("docker", append(kind.remove, name)...).CombinedOutput(); err != nil {
					r.t.Logf("%s stays: %s", name, out)
				}
			}
		}
	}
}

// abandoned tells whether the process is dead that a name belongs to.
func abandoned(name string) bool {
	found := regexp.MustCompile(`^(?:cutover-edge:)?(edge-dev-\d+-(\d+)-?)`).FindStringSubmatch(name)
	if found == nil {
		return false
	}
	pid, err := strconv.Atoi(found[2])
	if err != nil || strings.TrimSuffix(found[1], "-")+"-" != names(pid) {
		return false
	}
	return syscall.Kill(pid, 0) == syscall.ESRCH
}
