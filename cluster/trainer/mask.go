package trainer

import "fmt"

// Channels names the structures that may be masked: the channels of the graft
// layers. A channel is masked at the layer's exit, behind its kernels: there it is
// zero, as is the gradient, in whatever way the layer was computed.
func (m *Model) Channels() []ChannelGroup {
	list := make([]ChannelGroup, 0, len(m.grafts))
	for i, n := range m.nodes {
		if n.op == OpGraft {
			g := m.grafts[n.graft]
			id := tensorID("host/"+m.graph.Layers[i].Name+"/exit", g.Width)
			list = append(list, ChannelGroup{Graft: g, ID: fmt.Sprintf("%016x", uint64(id))})
		}
	}
	return list
}

// ChannelGroup is the channels of one graft layer, under an id that is the same in
// every process.
type ChannelGroup struct {
	Graft
	ID string
}

// Mask replaces the masked channels of a graft layer by others, from 0 on. An error
// means that there is no such layer or channel, and nothing has changed.
func (m *Model) Mask(layer int, channels []int32) error {
	for i, g := range m.grafts {
		if g.Layer != layer {
			continue
		}
		for _, c := range channels {
			if c < 0 || int(c) >= g.Width {
				return fmt.Errorf("graft layer %d has %d channels; there is no channel %d", layer, g.Width, c)
			}
		}
		m.masks[i] = append([]int32(nil), channels...)
		return nil
	}
	return fmt.Errorf("there is no graft layer %d", layer)
}
