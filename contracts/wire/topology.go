package wire

// Topics lists the payload types that each topic of the bus carries.
var Topics = map[string][]string{
	"compilation.blueprint.submitted": {"esper.events.v2.BlueprintSubmittedEvent"},
	"compilation.kernel.ready":        {"esper.events.v2.KernelReadyEvent"},
	"validation.kernel.characterized": {"esper.events.v2.KernelCharacterizedEvent"},
	"control.kasmina.commands":        {"esper.adaptation.v2.AdaptationCommand"},
	"control.tolaria.commands":        {"esper.adaptation.v2.AdaptationCommand"},
	"control.command.results":         {"esper.adaptation.v2.CommandResult"},
	"innovation.field_reports":        {"esper.operational.v2.FieldReport"},
	"system.events.epoch":             {"esper.events.v2.EpochEvent"},
	"telemetry.seed.health":           {"esper.telemetry.v2.SeedTelemetry"},
	"telemetry.region.summaries":      {"esper.operations.v2.RegionSummary"},
	"telemetry.subsystem.health":      {"esper.telemetry.v2.TelemetryPacket"},
	"operations.alerts":               {"esper.platform.v2.AlertEvent"},
	"operations.config":               {"esper.operations.v2.ConfigChange"},
	"innovation.policy":               {"esper.policy.v2.PolicyUpdate"},
	"innovation.jobs":                 {"esper.innovation.v2.JobStatus"},
	"innovation.strategy":             {"esper.innovation.v2.StrategyEvent"},
	"innovation.curriculum":           {"esper.policy.v2.CurriculumDecision"},
}

// Direct lists the payload types that travel on direct links, without a
// topic.
var Direct = []string{
	"esper.adaptation.v2.CommandConfirm",
	"esper.adaptation.v2.CommandResult",
	"esper.assets.v2.FetchBlueprint",
	"esper.assets.v2.FetchBlueprintReply",
	"esper.assets.v2.FetchKernel",
	"esper.assets.v2.FetchKernelReply",
	"esper.assets.v2.KernelFault",
	"esper.assets.v2.ListPending",
	"esper.assets.v2.ListPendingReply",
	"esper.assets.v2.MoveAsset",
	"esper.assets.v2.StoreBlueprint",
	"esper.assets.v2.StoreKernel",
	"esper.assets.v2.StoreReply",
	"esper.assets.v2.StoreReport",
	"esper.bus.v2.Ack",
	"esper.bus.v2.AckReply",
	"esper.bus.v2.Claim",
	"esper.bus.v2.Delivery",
	"esper.bus.v2.LogSlice",
	"esper.bus.v2.Nack",
	"esper.bus.v2.PublishAck",
	"esper.bus.v2.ReadLog",
	"esper.bus.v2.Subscribe",
	"esper.innovation.v2.BlueprintReply",
	"esper.innovation.v2.BlueprintRequest",
	"esper.innovation.v2.CompileReply",
	"esper.innovation.v2.CompileRequest",
	"esper.ledger.v2.AppendReply",
	"esper.ledger.v2.AppendRequest",
	"esper.ledger.v2.OpenReply",
	"esper.ledger.v2.OpenRequest",
	"esper.ledger.v2.ReadReply",
	"esper.ledger.v2.ReadRequest",
	"esper.ledger.v2.SealReply",
	"esper.ledger.v2.SealRequest",
	"esper.operational.v2.AdaptationSignal",
	"esper.operational.v2.KernelQuery",
	"esper.operational.v2.KernelQueryResult",
	"esper.operations.v2.AlertCommand",
	"esper.operations.v2.ConfigAck",
	"esper.operations.v2.ConfigDecision",
	"esper.operations.v2.ConfigReply",
	"esper.operations.v2.ConfigRequest",
	"esper.operations.v2.ConfigSeal",
	"esper.operations.v2.ConfigSnapshot",
	"esper.operations.v2.ConfigSnapshotRequest",
	"esper.operations.v2.MetricsQuery",
	"esper.operations.v2.MetricsReply",
	"esper.operations.v2.StatusQuery",
	"esper.operations.v2.StatusReply",
	"esper.operations.v2.VersionQuery",
	"esper.operations.v2.VersionReply",
	"esper.pause.v2.PauseAck",
	"esper.pause.v2.PauseRequest",
	"esper.pause.v2.ResumeRequest",
	"esper.platform.v2.CapacityUpdate",
	"esper.rollback.v2.RollbackAck",
	"esper.rollback.v2.RollbackDecision",
	"esper.rollback.v2.RollbackHeartbeat",
	"esper.rollback.v2.RollbackOutcome",
	"esper.rollback.v2.RollbackRequest",
	"esper.rollback.v2.RollbackVote",
	"esper.system_state.v2.SystemStatePacket",
	"esper.telemetry.v2.EmergencyNotice",
	"esper.training.v2.BackwardReply",
	"esper.training.v2.BackwardRequest",
	"esper.training.v2.BoundaryReply",
	"esper.training.v2.BoundaryRequest",
	"esper.training.v2.CheckpointInfo",
	"esper.training.v2.CheckpointQuery",
	"esper.training.v2.ForwardReply",
	"esper.training.v2.ForwardRequest",
	"esper.training.v2.RestorePart",
	"esper.training.v2.RollbackQuery",
	"esper.training.v2.StatePart",
	"esper.training.v2.StatePartRequest",
	"esper.innovation.v2.FetchPolicy",
	"esper.innovation.v2.PolicyVerdict",
	"esper.innovation.v2.PolicyWeights",
	"esper.pruning.v2.PruningMask",
	"esper.pruning.v2.PruningOutcome",
	"esper.pruning.v2.PruningValidation",
	"esper.pruning.v2.StatisticsReply",
	"esper.pruning.v2.StatisticsRequest",
	"esper.pruning.v2.StructuralAnalysisDecision",
	"esper.pruning.v2.StructuralAnalysisRequest",
	"esper.training.v2.FleetNote",
}

type route struct{ topic, payloadType string }

var allowed = routes()

func routes() map[route]bool {
	all := map[route]bool{}
	for topic, types := range Topics {
		for _, t := range types {
			all[route{topic, t}] = true
		}
	}
	for _, t := range Direct {
		all[route{"", t}] = true
	}
	return all
}

// Allowed says whether a payload type, by its full name, may travel on a
// topic. The empty topic is a direct link.
func Allowed(topic, payloadType string) bool { return allowed[route{topic, payloadType}] }
