package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// Private

type downCommand struct {
	*options
	volumes bool
}

func newDownCommand(o *options) *cobra.Command {
	c := &downCommand{options: o}
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Remove the environment; its data stay unless --volumes is given",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, done, err := c.environment(cmd.Context())
			if err != nil {
				return err
			}
			found, err := s.Exists(cmd.Context())
			if err == nil {
				err = s.Down(cmd.Context(), c.volumes)
			}
			if err := errors.Join(err, done()); err != nil {
				return err
			}
			sentence := fmt.Sprintf("The environment %s is removed; its data stay (--volumes removes them too).", o.project)
			switch {
			case !found:
				sentence = fmt.Sprintf("There is no environment %s; nothing was removed.", o.project)
			case c.volumes:
				sentence = fmt.Sprintf("The environment %s is removed with all its data.", o.project)
			}
			return o.print(map[string]any{"schema_version": 1, "project": o.project, "found": found, "volumes": c.volumes}, sentence)
		},
	}
	cmd.Flags().BoolVar(&c.volumes, "volumes", false, "remove all data and secrets too")
	return cmd
}
