package lint

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-sim/espersim/contracts/generated/go/options"
)

// Planes is the plane of every subsystem of Esper. Leyline has no
// runtime and is counted to the infrastructure; Elesh works for the control
// plane's pruning; Narset stands between Kasmina and Tamiyo as infrastructure.
var Planes = map[string]string{
	"tolaria": "training", "kasmina": "training",
	"tamiyo": "control", "simic": "control", "jace": "control", "emrakul": "control", "elesh": "control",
	"karn": "innovation", "tezzeret": "innovation", "urabrask": "innovation", "urza": "innovation",
	"leyline": "infrastructure", "oona": "infrastructure", "nissa": "infrastructure",
	"mycosynth": "infrastructure", "narset": "infrastructure",
}

// oneof demands an owner for every arm, and one plane for all of them. An arm
// that nobody owns has no legal consumer: a learning rate that was published
// to Kasmina would be nobody's.
func (l *linter) oneof(o protoreflect.OneofDescriptor) {
	if l.Versions[versionOf(o)].Frozen {
		return
	}
	plane, of := "", ""
	spans := false
	owners := map[protoreflect.Name][]string{}
	for i := range o.Fields().Len() {
		arm := o.Fields().Get(i)
		declared, _ := option(arm, options.E_Owner)
		names, _ := declared.([]string)
		if len(names) == 0 {
			l.report(OneofPlanes, arm, fmt.Sprintf("%s, an arm of %s, has no owner", short(arm), o.Name()),
				`[(esper.options.owner) = "SUBSYSTEM"]: who acts on it`)
			continue
		}
		for _, name := range names {
			p, known := l.Planes[name]
			switch {
			case !known:
				l.report(OneofPlanes, arm, fmt.Sprintf("%s is owned by %q, which is no subsystem", short(arm), name),
					"one of %s", strings.Join(slices.Sorted(maps.Keys(l.Planes)), ", "))
				continue
			case plane == "":
				plane, of = p, fmt.Sprintf("%s (%s)", arm.Name(), name)
			case p != plane && !spans:
				spans = true
				l.report(OneofPlanes, arm, fmt.Sprintf("the oneof %s spans planes: %s is of the %s plane, %s (%s) of the %s plane",
					short(o), of, plane, arm.Name(), name, p), "a message for each plane")
			}
			owners[arm.Name()] = append(owners[arm.Name()], name)
		}
	}
	l.route(o, owners)
}

// route demands that a topic on which the message travels leads to each arm's
// owner, and that each such topic has an arm for one of its consumers.
func (l *linter) route(o protoreflect.OneofDescriptor, owners map[protoreflect.Name][]string) {
	message := string(o.Parent().FullName())
	reached := map[string]bool{}
	var travels []string
	for _, topic := range slices.Sorted(maps.Keys(l.Topics)) {
		if !slices.Contains(l.Topics[topic], message) {
			continue
		}
		travels = append(travels, topic)
		useful := false
		for _, c := range l.Consumers[topic] {
			reached[c] = true
			for _, list := range owners {
				useful = useful || slices.Contains(list, c)
			}
		}
		if !useful && len(owners) > 0 {
			l.report(OneofRoute, o, fmt.Sprintf("%s may travel on %s, and no arm of %s is for its consumers (%s)",
				o.Parent().Name(), topic, o.Name(), strings.Join(l.Consumers[topic], ", ")), "another topic, or an arm for them")
		}
	}
	if len(travels) == 0 {
		return
	}
	for i := range o.Fields().Len() {
		arm := o.Fields().Get(i)
		for _, owner := range owners[arm.Name()] {
			if !reached[owner] {
				l.report(OneofRoute, arm, fmt.Sprintf("%s is owned by %s, which reads none of the message's topics (%s)",
					short(arm), owner, strings.Join(travels, ", ")), "a topic for it that %s reads, or another owner", owner)
			}
		}
	}
}
