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
	wireStart   = 3
	wireEnd     = 4
	wireFixed32 = 5
)

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
	if n == 0 || tag>>3 == 0 || tag>>32 != 0 {
		return f, nil, fmt.Errorf("%w: bad tag", ErrMalformed)
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
	case wireStart:
		rest, err := skipGroup(b, f.number)
		return f, rest, err
	}
	return f, nil, wrongType(f)
}

// varint returns its length as well, 0 if it is cut off or too long.
func varint(b []byte) (uint64, int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	v, n := binary.Uvarint(b)
	return v, max(n, 0)
}

// maxGroups is how deep groups may stand in each other, which nothing in OTLP does.
const maxGroups = 100

// skipGroup returns what follows the group that has begun. OTLP has none, so they are in unknown fields at most.
func skipGroup(b []byte, number uint64) ([]byte, error) {
	open := []uint64{number}
	for len(open) > 0 {
		tag, n := varint(b)
		switch {
		case n == 0 || len(open) > maxGroups:
			return nil, fmt.Errorf("%w: group %d does not end", ErrMalformed, number)
		case tag&7 == wireStart:
			open, b = append(open, tag>>3), b[n:]
		case tag&7 == wireEnd:
			if tag>>3 != open[len(open)-1] {
				return nil, fmt.Errorf("%w: group %d ends as %d", ErrMalformed, open[len(open)-1], tag>>3)
			}
			open, b = open[:len(open)-1], b[n:]
		default:
			var err error
			if _, b, err = next(b); err != nil {
				return nil, err
			}
		}
	}
	return b, nil
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
