// Package arrowfile copies Arrow files to Parquet, which DuckDB reads without an extension.
//
// Input: a file in Arrow's IPC file format (Feather version 2) or its stream format, distinguished by the first bytes, with plain, LZ4
// or zstd buffers. Output: a Parquet file with the same rows. State: Copies keeps the Parquet copies on disk; Copy has none. It never
// keeps more than one record batch and one row group in memory. An invalid file is an error, never a panic.
package arrowfile

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
)

const (
	// sliceRows is the number of rows that are copied at once.
	sliceRows = 8192
	// A row group ends at groupRows rows or groupBytes bytes. It is in memory until it is written. DuckDB's row groups have the same
	// number of rows.
	groupRows  = 122_880
	groupBytes = 32 << 20
)

// ErrUnreadable means that the file is not an Arrow file, is truncated, or has a type that cannot be copied. A retry cannot succeed.
var ErrUnreadable = errors.New("not a readable Arrow file")

func unreadable(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrUnreadable, fmt.Errorf(format, args...))
}

// Copy reads an Arrow file and writes a Parquet file. A record batch of more than memoryLimit bytes is an error.
func Copy(ctx context.Context, to io.Writer, from io.ReadSeeker, memoryLimit int64) (err error) {
	// The decoder panics on invalid metadata, such as an offset outside a buffer.
	defer func() {
		if r := recover(); r != nil {
			err = recovered(r)
		}
	}()
	mem := &budget{limit: memoryLimit}
	batches, err := open(from, mem)
	if err != nil {
		return err
	}
	defer batches.close()
	schema, err := plainSchema(batches.schema())
	if err != nil {
		return err
	}
	properties := parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Snappy), parquet.WithMaxRowGroupLength(groupRows))
	w, err := pqarrow.NewFileWriter(schema, to, properties, pqarrow.DefaultWriterProps())
	if err != nil {
		return unreadable("%w", err)
	}
	for {
		mem.used = 0
		batch, err := batches.next()
		if errors.Is(err, io.EOF) {
			if err := w.Close(); err != nil {
				return unreadable("%w", err)
			}
			return nil
		}
		if err != nil {
			return err
		}
		for at := int64(0); at < batch.NumRows(); at += sliceRows {
			if err := ctx.Err(); err != nil {
				return err
			}
			mem.used = 0
			if err := write(w, schema, batch.NewSlice(at, min(at+sliceRows, batch.NumRows())), mem); err != nil {
				return err
			}
		}
	}
}

// write adds rows to the Parquet file.
func write(w *pqarrow.FileWriter, schema *arrow.Schema, rows arrow.RecordBatch, mem *budget) error {
	defer rows.Release()
	plain, err := plainRows(rows, schema, mem)
	if err != nil {
		return err
	}
	defer plain.Release()
	if w.RowGroupTotalBytesWritten() > groupBytes {
		w.NewBufferedRowGroup()
	}
	if err := w.WriteBuffered(plain); err != nil {
		return unreadable("%w", err)
	}
	return nil
}

// batches are the record batches of a file. next returns io.EOF after the last one.
type batches interface {
	schema() *arrow.Schema
	next() (arrow.RecordBatch, error)
	close()
}

// open determines the format from the first bytes.
func open(from io.ReadSeeker, mem memory.Allocator) (batches, error) {
	var head [8]byte
	n, err := io.ReadFull(from, head[:])
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if _, err := from.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	switch start := head[:n]; {
	case n == 0:
		return nil, unreadable("it is empty")
	case bytes.HasPrefix(start, ipc.Magic):
		return openFile(from, mem)
	case bytes.HasPrefix(start, []byte("FEA1")):
		return nil, unreadable("it is a Feather file of version 1; write version 2, as pandas and pyarrow do since 2020")
	case bytes.HasPrefix(start, []byte{0xff, 0xff, 0xff, 0xff}):
		return openStream(bufio.NewReaderSize(from, maxMetadata+8), mem)
	default:
		return nil, unreadable("it begins with %q; want ARROW1, or the bytes FF FF FF FF of a stream", start)
	}
}

// budget counts the bytes that a batch allocates, and panics above the limit. Freed memory is not subtracted, because it stays
// allocated until the next garbage collection.
type budget struct {
	memory.GoAllocator
	limit, used int64
}

// errTooLarge is the panic value of a budget.
var errTooLarge = errors.New("a record batch is too large")

func (b *budget) take(size int) {
	if b.used += int64(size); size < 0 || b.used > b.limit {
		panic(errTooLarge)
	}
}

// Allocate implements memory.Allocator.
func (b *budget) Allocate(size int) []byte {
	b.take(size)
	return b.GoAllocator.Allocate(size)
}

// Reallocate implements memory.Allocator.
func (b *budget) Reallocate(size int, old []byte) []byte {
	b.take(max(size-len(old), 0))
	return b.GoAllocator.Reallocate(size, old)
}

// recovered converts the value of a panic to an error.
func recovered(r any) error {
	err, ok := r.(error)
	if !ok {
		err = fmt.Errorf("%v", r)
	}
	if errors.Is(err, errTooLarge) {
		return unreadable("%w for half of the source's memory_limit; raise it, or write batches of fewer rows, as in pyarrow's write_table(table, max_chunksize=65536) and polars' write_ipc(record_batch_size=65536)", errTooLarge)
	}
	return unreadable("it is damaged: %w", err)
}
