package bill_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

// A few hundred kilobytes that become a hundred megabytes are read as a stream: they cost time, and no memory.
func TestLong_DecompressionBombTakesNoMemory(t *testing.T) {
	const mib = 1 << 20
	header := []byte(columns + "\n")
	zeros, lines, fields := make([]byte, mib), bytes.Repeat([]byte{'\n'}, mib), bytes.Repeat([]byte{','}, mib)
	for file, format := range map[string]struct {
		size, most int // bytes in the file, and of the heap
		open       func(io.Writer) io.WriteCloser
	}{
		"bill.csv.gz": {64 * mib, 40 * mib, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }},
		// Its window, which the reader keeps, is half of the file.
		"bill.csv.zst": {128 * mib, 128 * mib, func(w io.Writer) io.WriteCloser {
			z, err := zstd.NewWriter(w, zstd.WithWindowSize(64*mib))
			require.NoError(t, err)
			return z
		}},
		"bill.csv.zip": {64 * mib, 40 * mib, func(w io.Writer) io.WriteCloser {
			z := zip.NewWriter(w)
			member, err := z.Create("bill.csv")
			require.NoError(t, err)
			return struct {
				io.Writer
				io.Closer
			}{member, z}
		}},
	} {
		for name, block := range map[string][]byte{"one line without an end": zeros, "empty lines": lines, "a row of empty fields without an end": fields} {
			t.Run(name+", "+file, func(t *testing.T) {
				var b bytes.Buffer
				w := format.open(&b)
				_, err := w.Write(header)
				require.NoError(t, err)
				for range format.size / len(block) {
					_, err := w.Write(block)
					require.NoError(t, err)
				}
				require.NoError(t, w.Close())
				require.Less(t, b.Len(), format.size/100)
				path := filepath.Join(t.TempDir(), file)
				require.NoError(t, os.WriteFile(path, b.Bytes(), 0o600))
				b = bytes.Buffer{}
				debug.FreeOSMemory()
				grown := heapGrowth(func() { _, _ = newReader(t, nil).Read(context.Background(), path) })
				require.Less(t, grown, int64(format.most), "the heap grew by %d MiB", grown>>20)
			})
		}
	}
}

// heapGrowth is how much the heap grows at most while f runs.
func heapGrowth(f func()) int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before, done := int64(m.HeapInuse), make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	var most int64
	for {
		select {
		case <-done:
			return most
		case <-time.After(5 * time.Millisecond):
			runtime.ReadMemStats(&m)
			most = max(most, int64(m.HeapInuse)-before)
		}
	}
}
