package trainer

import "fmt"

// TensorID names a tensor of parameters: a hash of its path, shape and type that
// is the same in every process.
type TensorID uint64

func tensorID(path string, shape ...int) TensorID {
	return TensorID(hashString(fmt.Sprintf("%s:%v:float32", path, shape)))
}

// Tensors lists the host's, in the order of its layers.
func (m *Model) Tensors() (ids []TensorID) {
	for i := range m.nodes {
		ids = append(ids, m.tensors(i)...)
	}
	return ids
}

// Upstream lists those that a graft layer's input depends on.
func (m *Model) Upstream(layer int) (ids []TensorID) {
	seen := make([]bool, len(m.nodes))
	var visit func(i int)
	visit = func(i int) {
		if i < 0 || seen[i] {
			return
		}
		seen[i] = true
		for _, f := range m.nodes[i].from {
			visit(f)
		}
	}
	for i, c := range m.nodes {
		if c.op == OpGraft && m.grafts[c.graft].Layer == layer {
			visit(i)
		}
	}
	for i := range m.nodes {
		if seen[i] {
			ids = append(ids, m.tensors(i)...)
		}
	}
	return ids
}

func (m *Model) tensors(i int) []TensorID {
	c := m.nodes[i]
	if c.op != OpDense {
		return nil
	}
	path := "host/" + m.graph.Layers[i].Name
	return []TensorID{tensorID(path+"/w", c.out, c.in), tensorID(path+"/b", c.out)}
}

// Tensors lists the kernel's, under a path that is its slot's own.
func (k *Kernel) Tensors(path string) []TensorID {
	if k.block != nil {
		return []TensorID{tensorID(path+"/block", len(k.Params))}
	}
	return []TensorID{tensorID(path+"/w1", k.Hidden, k.Width), tensorID(path+"/b1", k.Hidden),
		tensorID(path+"/w2", k.Width, k.Hidden), tensorID(path+"/b2", k.Width)}
}
