package main

import "github.com/spf13/cobra"

func newContracts() *cobra.Command {
	c := group(&cobra.Command{
		Use:   "contracts",
		Short: "Judge message schemas and what a change of them does to messages",
	})
	c.AddCommand(
		newContractsBump(),
		newContractsGolden(),
		newContractsKeygen(),
		newContractsLint(),
		newContractsMigrate(),
		newContractsReencode(),
		newContractsSign(),
		newContractsToolchain(),
		newContractsVerify(),
		newContractsVersions(),
	)
	c.AddCommand(newBreaking(), newRead())
	return c
}
