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

// A few hundred kilobytes that become hundreds of megabytes are read as a stream: they cost time, and no memory.
func TestABillThatIsABombTakesNoMemory(t *testing.T) {
	const size = 192 << 20
	header := []byte(columns + "\n")
	zeros, lines, fields := make([]byte, 1<<20), bytes.Repeat([]byte{'\n'}, 1<<20), bytes.Repeat([]byte{','}, 1<<20)
	compressed := map[string]func(io.Writer) io.WriteCloser{
		"bill.csv.gz": func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
		"bill.csv.zst": func(w io.Writer) io.WriteCloser {
			z, err := zstd.NewWriter(w, zstd.WithWindowSize(64<<20))
			require.NoError(t, err)
			return z
		},
		"bill.csv.zip": func(w io.Writer) io.WriteCloser {
			z := zip.NewWriter(w)
			member, err := z.Create("bill.csv")
			require.NoError(t, err)
			return struct {
				io.Writer
				io.Closer
			}{member, z}
		},
	}
	for name, block := range map[string][]byte{"one line without an end": zeros, "empty lines": lines, "a row of empty fields without an end": fields} {
		for file, open := range compressed {
			t.Run(name+", "+file, func(t *testing.T) {
				var b bytes.Buffer
				w := open(&b)
				_, err := w.Write(header)
				require.NoError(t, err)
				for range size >> 20 {
					_, err := w.Write(block)
					require.NoError(t, err)
				}
				require.NoError(t, w.Close())
				require.Less(t, b.Len(), size/100)
				path := filepath.Join(t.TempDir(), file)
				require.NoError(t, os.WriteFile(path, b.Bytes(), 0o600))
				b = bytes.Buffer{}
				debug.FreeOSMemory()
				grown := heapGrowth(func() { _, _ = newReader(t, nil).Read(context.Background(), path) })
				require.Less(t, grown, int64(128<<20), "the heap grew by %d MiB", grown>>20)
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
