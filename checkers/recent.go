package checkers

// recent remembers what was noted last, in bounded memory: at least the newest
// remembered entries. Forgetting all of them at once would forget what was noted a
// moment ago, too, and take what follows from it for a violation.
type recent[V any] struct {
	now, before map[string]V
}

func (r *recent[V]) put(key string, v V) {
	if r.now == nil || len(r.now) >= remembered {
		r.before, r.now = r.now, map[string]V{}
	}
	r.now[key] = v
}

func (r *recent[V]) get(key string) (v V, known bool) {
	if v, known = r.now[key]; !known {
		v, known = r.before[key]
	}
	return v, known
}
