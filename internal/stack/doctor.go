package stack

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cutover-dev/cutover/internal/engine"
)

// Verdict is what a check found.
type Verdict string

// The verdicts of a check.
const (
	Pass          Verdict = "pass"
	Fail          Verdict = "fail"
	NotApplicable Verdict = "not_applicable"
)

// Check is one thing that the environment needs of the engine or the machine.
type Check struct {
	Name     string  `json:"name"`
	Verdict  Verdict `json:"verdict"`
	Evidence string  `json:"evidence"` // what was found
	Remedy   string  `json:"remedy"`   // what to do about a failure
}

// What the environment needs. The images take about 2 GB and a million seeded
// accounts 1 GB; the services may use 6 GB in all and use 1 GB at rest.
const (
	diskNeeded     = 5 << 30
	memoryNeeded   = 2 << 30
	networksNeeded = 5
)

// Doctor checks whether the environment can be brought up. Nothing that stays
// is made. An error means that the engine went away in the middle.
func (s *Stack) Doctor(ctx context.Context) ([]Check, error) {
	machine, err := s.engine.Machine(ctx)
	if err != nil {
		return nil, err
	}
	version, err := s.checkEngine(ctx)
	if err != nil {
		return nil, err
	}
	checks := []Check{version, s.checkMemory(machine), s.checkDisk(machine)}
	checks = append(checks, s.checkPublished(ctx), s.checkNetworks(ctx), s.checkBase(ctx))
	return append(checks, s.checkGivenImages(ctx)...), ctx.Err()
}

// Private

func (s *Stack) checkEngine(ctx context.Context) (Check, error) {
	info, err := s.engine.Info(ctx)
	if err != nil {
		return Check{}, err
	}
	check := Check{Name: "engine", Verdict: Pass,
		Evidence: fmt.Sprintf("%s at %s speaks API %s (%s is needed), %s/%s", info.Version, info.Endpoint, info.APIVersion, engine.MinAPI, info.OS, info.Arch)}
	if info.OS != "linux" {
		check.Verdict, check.Remedy = Fail, "use an engine that runs Linux containers"
	}
	return check, nil
}

func (s *Stack) checkMemory(machine engine.Machine) Check {
	check := Check{Name: "memory", Verdict: Pass,
		Evidence: fmt.Sprintf("%s in all, %d processors; %s is needed", gigabytes(machine.MemoryBytes), machine.CPUs, gigabytes(memoryNeeded))}
	if machine.MemoryBytes < memoryNeeded {
		check.Verdict, check.Remedy = Fail, "give the engine's machine more memory"
	}
	return check
}

func (s *Stack) checkDisk(machine engine.Machine) Check {
	check := Check{Name: "disk", Verdict: NotApplicable, Evidence: "the engine is on another machine, whose disk cannot be looked at from here"}
	if !s.engine.Local() {
		return check
	}
	var stat unix.Statfs_t
	if err := unix.Statfs(machine.DataRoot, &stat); err != nil {
		check.Evidence = fmt.Sprintf("%s cannot be looked at: %s", machine.DataRoot, err)
		return check
	}
	free := int64(stat.Bavail) * stat.Bsize
	check.Evidence = fmt.Sprintf("%s free below %s (%s); %s is needed", gigabytes(free), machine.DataRoot, machine.Storage, gigabytes(diskNeeded))
	check.Verdict = Pass
	if free < diskNeeded {
		check.Verdict, check.Remedy = Fail, "free some space; docker system prune removes what no container uses"
	}
	return check
}

func gigabytes(bytes int64) string {
	return fmt.Sprintf("%.1f GB", float64(bytes)/(1<<30))
}

// checkPublished looks at the ports that this environment would publish.
func (s *Stack) checkPublished(ctx context.Context) Check {
	check := Check{Name: "ports", Verdict: Pass}
	if err := s.checkPorts(ctx); err != nil {
		check.Verdict, check.Evidence, check.Remedy = Fail, trimSettings(err), "set another one and try again"
		return check
	}
	_, wanted, err := s.readSettings()
	if err != nil {
		check.Verdict, check.Evidence = Fail, trimSettings(err)
		return check
	}
	var numbers []string
	for _, port := range publishedPorts() {
		number := strconv.Itoa(wanted[port.variable])
		if number == "0" {
			number = "any"
		}
		numbers = append(numbers, port.service+" "+number)
	}
	check.Evidence = strings.Join(numbers, ", ") + ": free, or this environment's own"
	if !s.engine.Local() {
		check.Verdict, check.Evidence = NotApplicable, "the engine is on another machine, whose ports cannot be tried from here"
	}
	return check
}

func trimSettings(err error) string {
	return strings.TrimPrefix(err.Error(), ErrSettings.Error()+": ")
}

// checkNetworks tries whether the engine has addresses for the environment's
// networks: its pools hold some thirty of them by default.
func (s *Stack) checkNetworks(ctx context.Context) Check {
	check := Check{Name: "address pools", Verdict: Pass, Evidence: "the environment has its networks"}
	containers, err := s.engine.Containers(ctx, s.settings.Project)
	if err == nil && len(containers) > 0 {
		return check
	}
	if err == nil {
		err = s.engine.TryNetworks(ctx, networksNeeded, map[string]string{helperLabel: s.settings.Project})
	}
	if err != nil {
		check.Verdict, check.Evidence = Fail, err.Error()
		check.Remedy = "docker network prune removes networks that nothing uses; default-address-pools in the engine's daemon.json gives it more"
		return check
	}
	check.Evidence = fmt.Sprintf("%d networks could be made at once", networksNeeded)
	return check
}

// registryPatience is how long a registry may take to say that it has an image.
const registryPatience = 20 * time.Second

// checkBase finds out where the base image would come from.
func (s *Stack) checkBase(ctx context.Context) Check {
	check := Check{Name: "base image", Verdict: Pass}
	if given := s.settings.Getenv(baseVariable); given != "" {
		return s.checkGiven(ctx, check.Name, baseVariable, given)
	}
	if tag, _, err := s.baseTag(); err == nil {
		if id, err := s.engine.ImageID(ctx, tag); err == nil && id != "" {
			check.Evidence = "it is there: " + tag
			return check
		}
	}
	registry := s.offered(ctx, publicBase)
	if registry == nil {
		check.Evidence = "it would be made from " + publicBase
		return check
	}
	if _, err := exec.LookPath("mmdebstrap"); err == nil {
		check.Evidence = "no registry offers " + publicBase + "; mmdebstrap is here to make it"
		return check
	}
	if _, err := exec.LookPath("apt-get"); err == nil && unix.Geteuid() == 0 {
		check.Evidence = "no registry offers " + publicBase + "; mmdebstrap would be installed to make it"
		return check
	}
	check.Verdict = Fail
	check.Evidence = fmt.Sprintf("no registry offers %s (%s), and there is no mmdebstrap to make it", publicBase, registry)
	check.Remedy = "install mmdebstrap, or name a Debian trixie image that the engine has with " + baseVariable
	return check
}

func (s *Stack) checkGivenImages(ctx context.Context) []Check {
	var checks []Check
	for _, img := range images() {
		if given := s.settings.Getenv(img.variable); given != "" {
			checks = append(checks, s.checkGiven(ctx, "image "+img.name, img.variable, given))
		}
	}
	return checks
}

func (s *Stack) checkGiven(ctx context.Context, name, variable, ref string) Check {
	if id, err := s.engine.ImageID(ctx, ref); err == nil && id != "" {
		if err := s.engine.CheckImage(ctx, ref); err != nil && variable != baseVariable {
			return Check{Name: name, Verdict: Fail, Evidence: fmt.Sprintf("the engine has %s, but %s", ref, err), Remedy: "set " + variable + " to another one"}
		}
		return Check{Name: name, Verdict: Pass, Evidence: fmt.Sprintf("the engine has %s (%s)", ref, variable)}
	}
	if err := s.offered(ctx, ref); err != nil {
		return Check{Name: name, Verdict: Fail, Evidence: fmt.Sprintf("the engine does not have %s, and no registry offers it: %s", ref, err),
			Remedy: "load the image into the engine, log in to its registry, or set " + variable + " to another one"}
	}
	return Check{Name: name, Verdict: Pass, Evidence: fmt.Sprintf("its registry offers %s (%s)", ref, variable)}
}

func (s *Stack) offered(ctx context.Context, ref string) error {
	ctx, cancel := context.WithTimeout(ctx, registryPatience)
	defer cancel()
	return s.engine.Offered(ctx, ref)
}
