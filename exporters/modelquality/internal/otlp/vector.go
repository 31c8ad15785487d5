package otlp

import (
	"encoding/binary"
	"math"
	"unsafe"
)

// vectorBytes are those of one number of a Vector: embeddings are numbers of 32 bits.
const vectorBytes = 4

// AppendVector appends the numbers of a List as a Vector has them, and returns how many there are. It ends after most of them,
// and it is not ok for any other value, or a List with something else in it than numbers.
func (v Value) AppendVector(to []byte, most int) (_ []byte, numbers int, ok bool) {
	if v.Kind != List {
		return to, 0, false
	}
	const (
		item   = 1<<3 | wireBytes
		double = 4<<3 | wireFixed64
		size   = 9 // of a double in its message
	)
	b := unsafe.Slice(unsafe.StringData(v.text), len(v.text)) //nolint:gosec // It is only read.
	for len(b) > 0 {
		if numbers++; numbers > most {
			return to, numbers, true
		}
		if len(b) >= 2+size && b[0] == item && b[1] == size && b[2] == double { // as all SDKs write it
			to = appendNumber(to, math.Float64frombits(binary.LittleEndian.Uint64(b[3:])))
			b = b[2+size:]
			continue
		}
		fd, rest, err := next(b)
		if err != nil || fd.number != 1 || fd.wire != wireBytes {
			return to, numbers, false
		}
		b = rest
		var x Value
		if err := x.decode(fd.bytes); err != nil || x.Kind != Int && x.Kind != Double {
			return to, numbers, false
		}
		f, _ := x.Number()
		to = appendNumber(to, f)
	}
	return to, numbers, true
}

func appendNumber(to []byte, f float64) []byte {
	return binary.LittleEndian.AppendUint32(to, math.Float32bits(float32(f)))
}

// VectorOf makes a value of numbers that AppendVector wrote. They must not change while it is used.
func VectorOf(b []byte) Value { return Value{Kind: Vector, text: view(b)} }

// Dimensions is how many numbers a Vector has.
func (v Value) Dimensions() int {
	if v.Kind != Vector {
		return 0
	}
	return len(v.text) / vectorBytes
}

// At returns the number of a Vector in that place.
func (v Value) At(i int) float32 {
	b := v.text[vectorBytes*i : vectorBytes*i+vectorBytes]
	return math.Float32frombits(uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24)
}

// Size is how many bytes a value has beside itself.
func (v Value) Size() int { return len(v.text) }
