package arrowfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	flatbuffers "github.com/google/flatbuffers/go"
)

// These functions check a file's metadata before the library reads it, because the library allocates memory for as many columns,
// buffers and bytes as the metadata claims. The slots are those of Arrow's Schema.fbs, Message.fbs and File.fbs.
const (
	// maxMetadata limits the bytes of the metadata of a message or of the footer. A column takes about 200 bytes of it.
	maxMetadata = 4 << 20
	maxFields   = 100_000
	maxNesting  = 64

	messageHeaderType, messageHeader               = 6, 8
	headerSchema, headerDictionary, headerBatch    = 1, 2, 3
	schemaFields, schemaMetadata                   = 6, 8
	fieldChildren, fieldMetadata                   = 14, 16
	dictionaryBatch, batchBuffers, batchVariadic   = 6, 8, 12
	footerSchema, footerDictionaries, footerBlocks = 6, 8, 10
)

var errClaims = errors.New("it claims to have more than it holds")

// table is a flatbuffer table. Reading outside the buffer panics, which Copy turns into an error.
type table struct{ flatbuffers.Table }

func root(b []byte) table {
	return table{flatbuffers.Table{Bytes: b, Pos: flatbuffers.GetUOffsetT(b)}}
}

// child returns the table in a slot.
func (t table) child(slot flatbuffers.VOffsetT) (table, bool) {
	o := flatbuffers.UOffsetT(t.Offset(slot))
	if o == 0 {
		return table{}, false
	}
	return table{flatbuffers.Table{Bytes: t.Bytes, Pos: t.Indirect(t.Pos + o)}}, true
}

// vector returns the start and length of the vector in a slot. size is the number of bytes of an element.
func (t table) vector(slot flatbuffers.VOffsetT, size int) (start flatbuffers.UOffsetT, n int, err error) {
	o := flatbuffers.UOffsetT(t.Offset(slot))
	if o == 0 {
		return 0, 0, nil
	}
	start, n = t.Vector(o), t.VectorLen(o)
	if n < 0 || int64(start)+int64(n)*int64(size) > int64(len(t.Bytes)) {
		return 0, 0, errClaims
	}
	return start, n, nil
}

// checkMessage checks the metadata of a message.
func checkMessage(b []byte) error {
	m := root(b)
	header, ok := m.child(messageHeader)
	if !ok {
		return errors.New("a message without a header")
	}
	switch m.GetByteSlot(messageHeaderType, 0) {
	case headerSchema:
		return checkSchema(header)
	case headerDictionary:
		if header, ok = header.child(dictionaryBatch); !ok {
			return errors.New("a dictionary without values")
		}
		return checkBatch(header)
	case headerBatch:
		return checkBatch(header)
	}
	return nil
}

func checkBatch(t table) error {
	_, buffers, err := t.vector(batchBuffers, 16)
	if err != nil {
		return err
	}
	counts, n, err := t.vector(batchVariadic, 8)
	if err != nil {
		return err
	}
	for i := range n {
		if count := t.GetInt64(counts + flatbuffers.UOffsetT(i)*8); count < 0 || count > int64(buffers) {
			return errClaims
		}
	}
	return nil
}

func checkSchema(t table) error {
	if _, _, err := t.vector(schemaMetadata, 4); err != nil {
		return err
	}
	fields := 0
	return checkFields(t, schemaFields, 0, &fields)
}

func checkFields(t table, slot flatbuffers.VOffsetT, depth int, fields *int) error {
	start, n, err := t.vector(slot, 4)
	if err != nil {
		return err
	}
	if *fields += n; *fields > maxFields || depth > maxNesting {
		return fmt.Errorf("more than %d columns with those in them, or %d levels of them", maxFields, maxNesting)
	}
	for i := range n {
		f := table{flatbuffers.Table{Bytes: t.Bytes, Pos: t.Indirect(start + flatbuffers.UOffsetT(i)*4)}}
		if _, _, err := f.vector(fieldMetadata, 4); err != nil {
			return err
		}
		if err := checkFields(f, fieldChildren, depth+1, fields); err != nil {
			return err
		}
	}
	return nil
}

// checkFile checks the footer of a file, which lists the messages, and the metadata of each message.
func checkFile(from io.ReadSeeker) error {
	size, err := from.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	const tail = 10 // The length of the footer, and ARROW1.
	read := func(at, n int64) ([]byte, error) {
		if at < 0 || n < 0 || n > maxMetadata || at+n > size {
			return nil, errClaims
		}
		if _, err := from.Seek(at, io.SeekStart); err != nil {
			return nil, err
		}
		b := make([]byte, n)
		_, err := io.ReadFull(from, b)
		return b, err
	}
	end, err := read(size-tail, tail)
	if err != nil {
		return err
	}
	if string(end[4:]) != "ARROW1" {
		return fmt.Errorf("it ends with %q; want ARROW1", end[4:])
	}
	length := int64(binary.LittleEndian.Uint32(end))
	b, err := read(size-tail-length, length)
	if err != nil {
		return err
	}
	footer := root(b)
	schema, ok := footer.child(footerSchema)
	if !ok {
		return errors.New("it has no schema")
	}
	if err := checkSchema(schema); err != nil {
		return err
	}
	for _, slot := range []flatbuffers.VOffsetT{footerDictionaries, footerBlocks} {
		start, n, err := footer.vector(slot, 24)
		if err != nil {
			return err
		}
		for i := range n {
			at := start + flatbuffers.UOffsetT(i)*24
			offset, meta, body := footer.GetInt64(at), int64(footer.GetInt32(at+8)), footer.GetInt64(at+16)
			if body < 0 || body > size {
				return errClaims
			}
			message, err := read(offset, meta)
			if err != nil {
				return err
			}
			skip := 4
			switch binary.LittleEndian.Uint32(message) {
			case 0:
				return errors.New("an empty message")
			case continuation:
				skip = 8
			}
			if err := checkMessage(message[skip:]); err != nil {
				return err
			}
		}
	}
	return nil
}
