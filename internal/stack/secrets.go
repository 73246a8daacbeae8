package stack

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cutover-dev/cutover/internal/engine"
	"github.com/cutover-dev/cutover/internal/event"
)

// Secrets are an environment's secrets by name: "postgres/superuser_password".
type Secrets map[string]string

// Secrets reads the environment's secrets from the engine, where another
// operator may have made them, and renews the copy on this machine.
func (s *Stack) Secrets(ctx context.Context) (Secrets, error) {
	exists, err := s.engine.HasVolume(ctx, s.secretsVolume())
	if err != nil {
		return nil, err
	}
	if !exists {
		return nil, s.absent(ctx)
	}
	image, err := s.anyImage(ctx)
	if err != nil {
		return nil, err
	}
	return s.prepareSecrets(ctx, image, nil)
}

// Private

// secret is one value; every service that needs it has a copy that no other
// service can read.
type secret struct {
	name   string   // where the first copy is: <service>/<file>
	copies []string // further places
}

func secretList() []secret {
	return []secret{
		{name: "postgres/superuser_password"},
		{name: "postgres/python_password", copies: []string{"flask/postgres_password"}},
		{name: "postgres/go_password", copies: []string{"goapp/postgres_password"}},
		{name: "postgres/guard_password", copies: []string{"guard/postgres_password"}},
		{name: "redis/password", copies: []string{"flask/redis_password", "goapp/redis_password", "guard/redis_password"}},
		{name: "flask/secret_key", copies: []string{"goapp/secret_key"}},
		{name: "nginx/force_token"},
		{name: "nginx/visitor_key"},
	}
}

// owners are the users, with groups of the same numbers, that the services run
// as; the compose file and the Dockerfiles name them too. Only the guard runs as
// another user, nginx's, and reads its secrets by a group that nginx is not in.
// No service runs as authority.
func owners() map[string]int {
	return map[string]int{"nginx": 10100, "guard": 10107, "flask": 10101, "goapp": 10102, "postgres": 10103, "redis": 10104, "authority": 10199}
}

func (s *Stack) secretsVolume() string { return s.settings.Project + "_secrets" }

func (s *Stack) secretsCopy() string { return filepath.Join(s.Dir(), "secrets.json") }

// prepareSecrets fills the secrets volume with what it lacks, and with a
// certificate where one is wanted. The volume is the truth; the file on this
// machine is a copy of it.
func (s *Stack) prepareSecrets(ctx context.Context, image string, wanted *certificate) (_ Secrets, err error) {
	labels := map[string]string{engine.LabelProject: s.settings.Project, "com.docker.compose.volume": "secrets"}
	if err := s.engine.CreateVolume(ctx, s.secretsVolume(), labels); err != nil {
		return nil, err
	}
	carrier, err := s.engine.OpenVolume(ctx, s.secretsVolume(), image, map[string]string{helperLabel: s.settings.Project})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, carrier.Close(ctx)) }()
	kept, err := readSecrets(ctx, carrier)
	if err != nil {
		return nil, err
	}
	if len(kept) == 0 {
		// A volume that was removed by hand: the copy still opens the database.
		if kept, err = s.readCopy(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	secrets, made := complete(kept)
	renewed := false
	if wanted != nil {
		if renewed, err = wanted.renew(secrets); err != nil {
			return nil, err
		}
	}
	if made || renewed {
		content, err := packSecrets(secrets)
		if err != nil {
			return nil, err
		}
		if err := carrier.Write(ctx, content); err != nil {
			return nil, err
		}
	}
	if made {
		event.Finish(s.events, "secrets", "made, on the volume "+s.secretsVolume())
	}
	if wanted != nil {
		wanted.tell(s.events, renewed)
		if err := s.keepAuthority(*wanted, secrets); err != nil {
			return nil, err
		}
	}
	content, err := json.MarshalIndent(secrets, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := writePrivate(s.secretsCopy(), append(content, '\n')); err != nil {
		return nil, fmt.Errorf("keep a copy of the secrets: %w", err)
	}
	return secrets, nil
}

// complete adds the secrets that are missing and says whether it had to. The
// edge's certificate is left as it is.
func complete(kept Secrets) (Secrets, bool) {
	secrets, changed := Secrets{}, false
	for _, name := range []string{serverCertificate, serverKey, authorityCertificate, authorityKey} {
		if value, ok := kept[name]; ok {
			secrets[name] = value
		}
	}
	for _, item := range secretList() {
		value := kept[item.name]
		if value == "" {
			value, changed = newSecret(), true
		}
		for _, name := range append([]string{item.name}, item.copies...) {
			changed = changed || kept[name] != value
			secrets[name] = value
		}
	}
	return secrets, changed
}

func newSecret() string {
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails: see crypto/rand
	return base64.RawURLEncoding.EncodeToString(random[:])
}

// packSecrets makes the volume's content: a folder a service that only its
// user and group may enter.
func packSecrets(secrets Secrets) (io.Reader, error) {
	var content bytes.Buffer
	archive := tar.NewWriter(&content)
	write := func(name string, kind byte, mode int64, owner int, value string) error {
		header := &tar.Header{Name: name, Typeflag: kind, Mode: mode, Uid: owner, Gid: owner, Size: int64(len(value)), ModTime: time.Unix(0, 0)}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		_, err := io.WriteString(archive, value)
		return err
	}
	for service, owner := range owners() {
		if err := write(service+"/", tar.TypeDir, 0o750, owner, ""); err != nil {
			return nil, err
		}
	}
	names := make([]string, 0, len(secrets))
	for name := range secrets {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := write(name, tar.TypeReg, 0o440, owners()[path.Dir(name)], secrets[name]); err != nil {
			return nil, err
		}
	}
	return &content, archive.Close()
}

func readSecrets(ctx context.Context, carrier *engine.Carrier) (secrets Secrets, err error) {
	body, err := carrier.Read(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	secrets = Secrets{}
	archive := tar.NewReader(body)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return secrets, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the secrets: %w", err)
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		value, err := io.ReadAll(io.LimitReader(archive, largestPEM))
		if err != nil {
			return nil, fmt.Errorf("read the secrets: %w", err)
		}
		_, name, _ := strings.Cut(header.Name, "/") // the folder of the volume itself
		secrets[name] = string(value)
	}
}

func (s *Stack) readCopy() (Secrets, error) {
	content, err := os.ReadFile(s.secretsCopy())
	if err != nil {
		return nil, fmt.Errorf("read the copy of the secrets: %w", err)
	}
	var secrets Secrets
	if err := json.Unmarshal(content, &secrets); err != nil {
		return nil, fmt.Errorf("the copy of the secrets, %s, is broken: %w; remove it, the volume %s has them", s.secretsCopy(), err, s.secretsVolume())
	}
	return secrets, nil
}
