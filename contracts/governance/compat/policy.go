package compat

// Policy is what each kind of change needs (HLD 8.4). It looks at
// declarations only: a rename is major even where it loses nothing, because
// code and JSON go by names.
type Policy map[Kind]PolicyRule

// PolicyRule is the level of a kind of change and the reason for it.
type PolicyRule struct {
	Level  Level
	Reason string
}

// DefaultPolicy is the policy of HLD 8.4.
func DefaultPolicy() Policy {
	return Policy{
		FileAdded:            {Minor, "a file may be added"},
		FileRemoved:          {Major, "a file may not be removed: others import it"},
		PackageAdded:         {Minor, "a package may be added"},
		PackageRemoved:       {Major, "a package may not be removed or renamed: start a new one beside it"},
		DefinitionMoved:      {Minor, "a definition may move to another file of its package: the wire does not know of files"},
		MessageAdded:         {Minor, "a message type may be added"},
		MessageRemoved:       {Major, "a message type may not be removed"},
		MessageRenamed:       {Major, "a message type may not be renamed"},
		FieldAdded:           {Minor, "a field with a new number may be added"},
		MapFieldAdded:        {Major, "a map may not be added: use a repeated message with a key"},
		FieldRemoved:         {Major, "a field may not be removed"},
		FieldRenamed:         {Major, "a field may not be renamed: reserve it and add a new one"},
		FieldRenumbered:      {Major, "a field's number may not change"},
		FieldType:            {Major, "a field's type may not change"},
		FieldCardinality:     {Major, "a field's cardinality is part of its type and may not change"},
		FieldPresence:        {Major, "a field's presence is part of its type and may not change"},
		FieldPacked:          {Major, "a list's packing is part of its type and may not change"},
		FieldOneof:           {Major, "a field may not move into, out of, or between oneofs"},
		OneofRenamed:         {Major, "a oneof may not be renamed"},
		EnumAdded:            {Minor, "an enum may be added"},
		EnumRemoved:          {Major, "an enum may not be removed or renamed"},
		EnumValueAdded:       {Minor, "an enum value may be added at the end"},
		EnumValueInserted:    {Major, "an enum value may be added at the end only: its number must be above all others"},
		EnumValueRemoved:     {Major, "an enum value may not be removed"},
		EnumValueRenamed:     {Major, "an enum value may not be renamed"},
		EnumValueRenumbered:  {Major, "an enum value's number may not change"},
		EnumValuesReordered:  {Major, "enum values may not be reordered"},
		ServiceAdded:         {Minor, "a service may be added"},
		ServiceRemoved:       {Major, "a service may not be removed or renamed"},
		MethodAdded:          {Minor, "an RPC method may be added"},
		MethodRemoved:        {Major, "an RPC method may not be removed or renamed"},
		MethodRequest:        {Major, "an RPC method's request type may not change"},
		MethodResponse:       {Major, "an RPC method's response type may not change"},
		MethodStreaming:      {Major, "an RPC method may not begin or cease to stream"},
		ReservationAdded:     {Minor, "what was never used may be reserved"},
		ReservationRemoved:   {Major, "a reservation may not be taken back: an old writer may still use it"},
		ReservedNumberReused: {Major, "a reserved number may not be used again: old messages hold another field under it"},
		ReservedNameReused:   {Major, "a reserved name may not be used again: old JSON holds another field under it"},
		OptionChanged:        {Minor, "an option without effect on the wire may change"},
		ExtensionAdded:       {Minor, "a custom option may be added"},
		ExtensionRemoved:     {Major, "a custom option may not be removed"},
		ExtensionChanged:     {Major, "a custom option's number and type may not change"},
	}
}

// judge fills in what the policy says. A kind that it does not know needs a
// major version: what nobody thought of is not allowed.
func (p Policy) judge(c *Change, frozen map[string]bool) {
	rule, ok := p[c.Kind]
	if !ok {
		rule = PolicyRule{Major, "no rule allows it"}
	}
	c.Level, c.Rule = rule.Level, string(c.Kind)
	if c.Reason = rule.Reason + c.Reason; frozen[c.Package] {
		c.Frozen = true
	}
}
