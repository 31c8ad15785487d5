package convention

// table finds the slot of a name. A map would do, but for a dozen look-ups a span: names differ in their last letters
// and their length, so these are all that is hashed.
type table struct {
	entries []entry
	shift   int
}

type entry struct {
	name string
	slot slot
}

func newTable(slots map[string]slot) table {
	// Never more than a quarter full, so that most names that mean nothing meet an empty entry at once.
	t := table{shift: 64}
	for size := 1; size < 4*len(slots)+1; size *= 2 {
		t.shift--
	}
	t.entries = make([]entry, 1<<(64-t.shift))
	for name, s := range slots {
		i := t.first(name)
		for t.entries[i].name != "" {
			i = t.next(i)
		}
		t.entries[i] = entry{name, s}
	}
	return t
}

// find returns nil for a name that means nothing.
func (t *table) find(name string) *slot {
	for i := t.first(name); t.entries[i].name != ""; i = t.next(i) {
		if t.entries[i].name == name {
			return &t.entries[i].slot
		}
	}
	return nil
}

func (t *table) next(i int) int { return (i + 1) & (len(t.entries) - 1) }

func (t *table) first(name string) int {
	h := uint64(len(name))
	if n := len(name); n >= 8 {
		h ^= uint64(name[n-8]) | uint64(name[n-7])<<8 | uint64(name[n-6])<<16 | uint64(name[n-5])<<24 |
			uint64(name[n-4])<<32 | uint64(name[n-3])<<40 | uint64(name[n-2])<<48 | uint64(name[n-1])<<56
	} else {
		for i := range n {
			h = h<<8 | uint64(name[i])
		}
	}
	return int(h * 0x9e3779b97f4a7c15 >> t.shift)
}
