package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/network"
)

// Machine is what the engine says of the machine that it runs on.
type Machine struct {
	CPUs        int
	MemoryBytes int64
	DataRoot    string // the folder of images and volumes, on the engine's machine
	Storage     string // the storage driver: overlay2, vfs, …
}

// Machine asks the engine about its machine.
func (e *Engine) Machine(ctx context.Context) (Machine, error) {
	info, err := e.api.Info(ctx)
	if err != nil {
		return Machine{}, e.wrap("ask the engine about its machine", err)
	}
	return Machine{CPUs: info.NCPU, MemoryBytes: info.MemTotal, DataRoot: info.DockerRootDir, Storage: info.Driver}, nil
}

// Offered says whether a registry has an image for this engine; the error says
// why not.
func (e *Engine) Offered(ctx context.Context, ref string) error {
	_, err := e.api.DistributionInspect(ctx, ref, "")
	return e.wrap("ask a registry for "+ref, err)
}

// TryNetworks makes that many networks with the label at once, and removes
// them: whether the engine has addresses left for them cannot be asked.
func (e *Engine) TryNetworks(ctx context.Context, count int, labels map[string]string) (err error) {
	var made []string
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		for _, id := range made {
			if remove := e.api.NetworkRemove(ctx, id); remove != nil && !cerrdefs.IsNotFound(remove) {
				err = errors.Join(err, e.wrap("remove a network that was tried", remove))
			}
		}
	}()
	for i := range count {
		name := fmt.Sprintf("cutover-try-%d-%d", os.Getpid(), i)
		network, err := e.api.NetworkCreate(ctx, name, network.CreateOptions{Driver: "bridge", Internal: true, Labels: labels})
		if err != nil {
			return e.wrap(fmt.Sprintf("make network %d of %d", i+1, count), err)
		}
		made = append(made, network.ID)
	}
	return nil
}
