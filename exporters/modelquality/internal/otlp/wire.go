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

// errForeign is the error for encodings that no OTLP client writes: groups, unknown wire types, and tags without a valid field number.
// pdata ignores some of them.
var errForeign = fmt.Errorf("%w: a group, or no field at all", ErrMalformed)

// field is one field of a message: bytes for a length-delimited field, bits for any other.
type field struct {
	number uint64
	wire   byte
	bits   uint64
	bytes  []byte
}

// next decodes the first field of b and returns the rest. The library protowire is not used because it decodes tag and value separately,
// each with its own checks. For attributes, a dozen a span and three messages deep, this was half of the time.
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

// varint also returns the length, which is 0 if the number is cut off or too long. It drops bits beyond the 64th, as pdata does.
func varint(b []byte) (v uint64, length int) {
	for i := 0; i < len(b) && i < binary.MaxVarintLen64; i++ {
		v |= uint64(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			return v, i + 1
		}
	}
	return 0, 0
}

// id decodes an identifier, which must have its full length or be empty.
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
