package metering

// rememberedAnswers is how many answers of a version are remembered, by their hashes.
const rememberedAnswers = 256

// answers are the hashes of the last answers of a version.
type answers struct {
	last []uint64
	next int
}

// repeated remembers an answer, and reports whether it was one of the last ones.
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
