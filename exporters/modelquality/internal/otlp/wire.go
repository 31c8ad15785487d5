package otlp

import (
	"encoding/binary"
	"fmt"
)

// Wire types of protocol buffers.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

// errForeign refuses what no writer of OTLP writes, though pdata reads over some of it: groups, unknown wire types, and
// tags that are no number of a field.
var errForeign = fmt.Errorf("%w: a group, or no field at all", ErrMalformed)

// field is one field of a message: bytes of a length-delimited one, bits of any other.
type field struct {
	number uint64
	wire   byte
	bits   uint64
	bytes  []byte
}

// next reads the first field of b and returns what follows. The library protowire reads a tag, then a value, each with
// checks of its own; for attributes, a dozen a span and three messages deep, that was half of the time.
func next(b []byte) (f field, rest []byte, err error) {
	tag, n := varint(b)
	switch {
	case n == 0:
		return f, nil, fmt.Errorf("%w: a tag is cut off", ErrMalformed)
	case tag>>3 == 0 || tag>>32 != 0:
		return f, nil, errForeign
	}
	f.number, f.wire = tag>>3, byte(tag&7)
	b = b[n:]
	switch f.wire {
	case wireBytes:
		length, n := varint(b)
		if n == 0 || length > uint64(len(b)-n) {
			return f, nil, fmt.Errorf("%w: field %d is cut off", ErrMalformed, f.number)
		}
		end := n + int(length)
		f.bytes = b[n:end:end]
		return f, b[end:], nil
	case wireVarint:
		bits, n := varint(b)
		if n == 0 {
			return f, nil, fmt.Errorf("%w: field %d is cut off", ErrMalformed, f.number)
		}
		f.bits = bits
		return f, b[n:], nil
	case wireFixed64:
		if len(b) < 8 {
			return f, nil, fmt.Errorf("%w: field %d is cut off", ErrMalformed, f.number)
		}
		f.bits = binary.LittleEndian.Uint64(b)
		return f, b[8:], nil
	case wireFixed32:
		if len(b) < 4 {
			return f, nil, fmt.Errorf("%w: field %d is cut off", ErrMalformed, f.number)
		}
		f.bits = uint64(binary.LittleEndian.Uint32(b))
		return f, b[4:], nil
	}
	return f, nil, fmt.Errorf("%w: number %d", errForeign, f.number)
}

// varint returns its length as well, 0 if it is cut off or too long. Bits past the 64th are dropped, as pdata does.
func varint(b []byte) (v uint64, length int) {
	for i := 0; i < len(b) && i < binary.MaxVarintLen64; i++ {
		v |= uint64(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			return v, i + 1
		}
	}
	return 0, 0
}

// id reads an identifier, which is whole or not there.
func (f field) id(into []byte) error {
	switch {
	case f.wire != wireBytes:
		return wrongType(f)
	case len(f.bytes) == 0:
		clear(into)
	case len(f.bytes) != len(into):
		return fmt.Errorf("%w: an identifier of %d bytes, expected %d", ErrMalformed, len(f.bytes), len(into))
	default:
		copy(into, f.bytes)
	}
	return nil
}

func (f field) text() (string, error) {
	if f.wire != wireBytes {
		return "", wrongType(f)
	}
	return view(f.bytes), nil
}

func (f field) fixed64() (uint64, error) {
	if f.wire != wireFixed64 {
		return 0, wrongType(f)
	}
	return f.bits, nil
}
