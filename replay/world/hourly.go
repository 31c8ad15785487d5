package world

// hourly has a value for each hour since 1970. It is a slice, because a look-up in a map takes longer.
type hourly[T any] struct {
	first int64
	of    []T
}

// at returns the value of an hour; zero if there is none.
func (h *hourly[T]) at(hour int64) (v T) {
	if i := hour - h.first; i >= 0 && i < int64(len(h.of)) {
		return h.of[i]
	}
	return v
}

// bounds returns the first hour that may have a value, and the hour after the last.
func (h *hourly[T]) bounds() (from, to int64) { return h.first, h.first + int64(len(h.of)) }

func (h *hourly[T]) set(hour int64, v T) {
	switch i := hour - h.first; {
	case len(h.of) == 0:
		h.first = hour
	case i < 0:
		h.of = append(make([]T, -i, int64(len(h.of))-i), h.of...)
		h.first = hour
	}
	for hour-h.first >= int64(len(h.of)) {
		h.of = append(h.of, *new(T))
	}
	h.of[hour-h.first] = v
}

// forget removes the values of the hours before one.
func (h *hourly[T]) forget(before int64) {
	if drop := min(before-h.first, int64(len(h.of))); drop > 0 {
		clear(h.of[:drop])
		h.of, h.first = h.of[drop:], h.first+drop
	}
}
