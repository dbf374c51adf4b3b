// Package cluster knows every kind of process that a node can be, and makes
// their constructors. It knows nothing of what runs them.
//
// The subsystems, by Esper's names:
//
//	tolaria   training: epochs, optimizer, checkpoints, rollback
//	kasmina   seeds: kernels grafted into the host network
//	tamiyo    decisions: commands, risk, field reports
//	oona      the message bus
//	karn      designs: blueprints from templates
//	urza      the asset library: blueprints, kernels, reports
//	tezzeret  compiles blueprints to kernels
//	urabrask  validates kernels by running them
//	simic     trains policies from field reports
//	jace      curricula: task and strategy stages, aligned
//	emrakul   pruning cycles at checkpoints
//	elesh     analysis for them
//	nissa     operations: metrics, alerts, the audit trail
//	narset    regions: summaries of telemetry, emergencies
//	mycosynth the configuration
//	leyline   who speaks which version of the contracts
//
// Beside them stand the libraries they share, by English names (wal, merkle,
// checkpoint, sqlite, breaker, trainer, graft, kernel, config, contract, inbox,
// outbox, journal, assets), the clients that make the workload, and the ledger,
// which is a log alone.
package cluster
