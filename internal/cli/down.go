package cli

import (
	"errors"

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
			return errors.Join(s.Down(cmd.Context(), c.volumes), done())
		},
	}
	cmd.Flags().BoolVar(&c.volumes, "volumes", false, "remove all data and secrets too")
	return cmd
}
