package metering

// rememberedAnswers is the number of answers of a version whose hashes are remembered.
const rememberedAnswers = 256

// answers has the hashes of the last answers of a version.
type answers struct {
	last []uint64
	next int
}

// repeated remembers an answer. It reports whether the answer was already among the last ones.
func (a *answers) repeated(hash uint64) bool {
	for _, h := range a.last {
		if h == hash {
			return true
		}
	}
	if len(a.last) < rememberedAnswers {
		a.last = append(a.last, hash)
		return false
	}
	a.last[a.next] = hash
	a.next = (a.next + 1) % rememberedAnswers
	return false
}
