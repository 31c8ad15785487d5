package convention

// Origin is where an inference was asked for, by whom, and which replica answered it. What is not known is empty.
type Origin struct{ Region, Client, Instance string }

// from is the origin of a span: what it says itself, else what its resource does.
func (r *Reader) from(in *reading) *Origin {
	if in.set&origins == 0 && r.origin != nil {
		return r.origin
	}
	said := func(x role) string {
		if in.has(x) {
			return in.name(x)
		}
		return r.resource.name(x)
	}
	b := r.Batch
	b.origins = append(b.origins, Origin{said(roleRegion), said(roleClient), said(roleInstance)})
	o := &b.origins[len(b.origins)-1] // It stays where it is when the slice moves.
	if in.set&origins == 0 {
		r.origin = o
	}
	return o
}
