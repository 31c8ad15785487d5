package world

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestHourlyBehavesAsAMap(t *testing.T) {
	var h hourly[int]
	same := func(want map[int64]int) {
		t.Helper()
		for hour := int64(-20); hour < 40; hour++ {
			assert.Equal(t, want[hour], h.at(hour), hour)
		}
	}
	same(nil)
	h.forget(3)
	h.set(10, 1)
	h.set(13, 2)
	h.set(5, 3)
	h.set(10, 4)
	same(map[int64]int{10: 4, 13: 2, 5: 3})
	h.forget(10)
	h.set(7, 5)
	same(map[int64]int{10: 4, 13: 2, 7: 5})
	h.forget(30)
	same(nil)
	h.set(-4, 6)
	same(map[int64]int{-4: 6})
}
