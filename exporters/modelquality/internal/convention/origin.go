package convention

// Origin has the region and the client of an inference's caller, and the replica that answered. Unknown values are empty.
type Origin struct{ Region, Client, Instance string }

// originOf returns the origin of a span. A value that the span lacks is that of its resource.
func (r *Reader) originOf(in *reading) *Origin {
	if in.set&origins == 0 && r.origin != nil {
		return r.origin
	}
	text := func(x role) string {
		if in.has(x) {
			return in.name(x)
		}
		return r.resource.name(x)
	}
	b := r.Batch
	b.origins = append(b.origins, Origin{text(roleRegion), text(roleClient), text(roleInstance)})
	o := &b.origins[len(b.origins)-1] // It stays valid when the slice grows.
	if in.set&origins == 0 {
		r.origin = o
	}
	return o
}
