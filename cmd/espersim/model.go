package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/esper-sim/espersim/cluster/lineage"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
	"github.com/esper-sim/espersim/scenarios/runner"
)

func newModel() *cobra.Command {
	c := &cobra.Command{Use: "model", Short: "Look into exported models"}
	c.AddCommand(&cobra.Command{
		Use:   "show FILE",
		Short: "Print a model's network, adaptations and lineage",
		Args:  cobra.ExactArgs(1),
		RunE:  func(c *cobra.Command, args []string) error { return showModel(c.OutOrStdout(), args[0]) },
	}, &cobra.Command{
		Use:   "verify SCENARIO FILE",
		Short: "Train a model's lineage again and compare every byte",
		Long: `verify replays the lineage of an exported model in a calm world, with the
training job of the scenario that it comes from, and compares weights, optimizer
and grafts byte for byte. It exits with 1 where they differ.`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return verifyModel(c.OutOrStdout(), c.ErrOrStderr(), args[0], args[1])
		},
	})
	return c
}

func readModel(name string) (*statev2.ModelExport, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	m := new(statev2.ModelExport)
	if err := m.ParseCanonical(b); err != nil {
		return nil, fmt.Errorf("%s: not an exported model: %w", name, err)
	}
	return m, nil
}

func showModel(out io.Writer, name string) error {
	m, err := readModel(name)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "run %s, %d steps, weights %x\n\n%s\n", m.Lineage.GetTrainingRunId(), m.Host.GetGlobalStep(), m.WeightsSha256, m.Graph)
	identity := 0
	for _, e := range m.Lineage.GetEpochs() {
		for _, f := range e.Effects {
			if f.String() == "IDENTITY" {
				identity++
			}
		}
		for _, c := range e.Commands {
			fmt.Fprintf(out, "epoch %d, generation %d: %s seed %d/%d %s (%s)\n", e.Epoch, e.Generation, c.Operation,
				c.Seed.GetLayerId(), c.Seed.GetSeedId(), c.KernelArtifactId, c.CommandId)
		}
	}
	fmt.Fprintf(out, "%d epochs, %d steps on the identity path\n", len(m.Lineage.GetEpochs()), identity)
	return nil
}

func verifyModel(out, stderr io.Writer, scenario, name string) error {
	m, err := readModel(name)
	if err != nil {
		return err
	}
	list, err := load([]string{scenario}, stderr)
	if err != nil {
		return err
	}
	j, err := runner.Job(list[0])
	if err != nil {
		return err
	}
	if err := lineage.Verify(j, m); err != nil {
		fmt.Fprintf(out, "%s does not follow from its lineage: %v\n", name, err)
		return exit{runner.ExitViolated}
	}
	fmt.Fprintf(out, "%s follows from its lineage: %d epochs, weights %x\n", name, len(m.Lineage.GetEpochs()), m.WeightsSha256)
	return nil
}
