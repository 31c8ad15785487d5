package arrowfile

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// file is an Arrow file with a footer that lists its batches.
type file struct {
	r    *ipc.FileReader
	read int
}

func openFile(from io.ReadSeeker, mem memory.Allocator) (batches, error) {
	at, ok := from.(ipc.ReadAtSeeker)
	if !ok {
		return nil, errors.New("a file that cannot be read at an offset")
	}
	if err := checkFile(from); err != nil {
		return nil, unreadable("its end does not say what is in it; was it copied whole? (%w)", err)
	}
	r, err := ipc.NewFileReader(at, ipc.WithAllocator(mem))
	if err != nil {
		return nil, unreadable("%w", err)
	}
	return &file{r: r}, nil
}

func (f *file) schema() *arrow.Schema { return f.r.Schema() }
func (f *file) close()                { _ = f.r.Close() }

func (f *file) next() (arrow.RecordBatch, error) {
	if f.read == f.r.NumRecords() {
		return nil, io.EOF
	}
	batch, err := f.r.RecordBatch(f.read)
	if err != nil {
		return nil, unreadable("record batch %d of %d: %w", f.read+1, f.r.NumRecords(), err)
	}
	f.read++
	return batch, nil
}

// stream is an Arrow stream, whose batches follow each other.
type stream struct{ r *ipc.Reader }

func openStream(from *bufio.Reader, mem memory.Allocator) (batches, error) {
	counted := &counter{Reader: from}
	m := &messages{MessageReader: ipc.NewMessageReader(counted, ipc.WithAllocator(mem)), from: counted}
	r, err := ipc.NewReaderFromMessageReader(m, ipc.WithAllocator(mem))
	if err != nil {
		return nil, recovered(err)
	}
	return &stream{r}, nil
}

func (s *stream) schema() *arrow.Schema { return s.r.Schema() }
func (s *stream) close()                { s.r.Release() }

func (s *stream) next() (arrow.RecordBatch, error) {
	if s.r.Next() {
		return s.r.RecordBatch(), nil
	}
	if err := s.r.Err(); err != nil {
		return nil, recovered(err)
	}
	return nil, io.EOF
}

// counter counts the bytes that were read.
type counter struct {
	*bufio.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

// messages reads the messages of a stream. The library takes a stream that is truncated within a message for a complete one, and it
// allocates whatever length a message claims. Message checks both.
type messages struct {
	ipc.MessageReader
	from *counter
}

// continuation begins a message of a stream.
const continuation = 0xffffffff

// Message implements ipc.MessageReader.
func (m *messages) Message() (*ipc.Message, error) {
	head, err := m.from.Peek(8)
	if err == nil && binary.LittleEndian.Uint32(head) == continuation {
		size := binary.LittleEndian.Uint32(head[4:])
		if size > maxMetadata {
			return nil, unreadable("a message with a description of %d bytes; want %d or fewer", size, maxMetadata)
		}
		described, err := m.from.Peek(8 + int(size))
		if err != nil {
			return nil, io.ErrUnexpectedEOF
		}
		if size > 0 {
			if err := checkMessage(described[8:]); err != nil {
				return nil, err
			}
		}
	} else if err == nil && binary.LittleEndian.Uint32(head) != 0 {
		return nil, fmt.Errorf("a message that begins with %x", head)
	}
	before := m.from.n
	message, err := m.MessageReader.Message()
	if err != nil && err != io.EOF && errors.Is(err, io.EOF) && m.from.n > before { //nolint:errorlint // The end of the stream is io.EOF itself.
		return nil, io.ErrUnexpectedEOF
	}
	return message, err
}
