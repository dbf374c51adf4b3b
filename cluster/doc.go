// Package cluster knows every kind of process that a node can be, and makes
// their constructors. It knows nothing of what runs them.
//
// The subsystems, by Esper's names:
//
//	tolaria   training: epochs, optimizer, checkpoints, rollback
//	kasmina   seeds: kernels grafted into the host network
//	tamiyo    decisions: commands, risk, field reports
//	oona      the message bus
//
// Beside them stand the libraries they share, by English names (wal, merkle,
// checkpoint, breaker, trainer, graft), the clients that make the workload, and
// the ledger, which is a log alone.
package cluster
