package otlp

import (
	"encoding/binary"
	"math"
	"unsafe"
)

// vectorBytes is the size of one number of a Vector: a 32-bit float.
const vectorBytes = 4

// AppendVector appends the numbers of a List in the encoding of a Vector, and returns their number. It stops after most numbers. ok is
// false for any other value, and for a List that contains anything but numbers.
func (v Value) AppendVector(to []byte, most int) (_ []byte, numbers int, ok bool) {
	if v.Kind != List {
		return to, 0, false
	}
	const (
		item   = 1<<3 | wireBytes
		double = 4<<3 | wireFixed64
		size   = 9 // a double in its message
	)
	b := unsafe.Slice(unsafe.StringData(v.text), len(v.text)) //nolint:gosec // It is only read.
	for len(b) > 0 {
		if numbers++; numbers > most {
			return to, numbers, true
		}
		if len(b) >= 2+size && b[0] == item && b[1] == size && b[2] == double { // the encoding of all SDKs
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

// VectorOf returns a Vector of numbers that AppendVector wrote. The bytes must not change while it is used.
func VectorOf(b []byte) Value { return Value{Kind: Vector, text: view(b)} }

// Dimensions returns the number of dimensions of a Vector.
func (v Value) Dimensions() int {
	if v.Kind != Vector {
		return 0
	}
	return len(v.text) / vectorBytes
}

// At returns the i-th number of a Vector.
func (v Value) At(i int) float32 {
	b := v.text[vectorBytes*i : vectorBytes*i+vectorBytes]
	return math.Float32frombits(uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24)
}

// Size returns the bytes that a value needs in addition to the struct.
func (v Value) Size() int { return len(v.text) }
