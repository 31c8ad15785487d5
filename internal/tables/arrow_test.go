package tables_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// The files of testdata/arrow are of pyarrow and pandas; make.py there writes them.
func arrowFile(name string) string { return filepath.Join("testdata", "arrow", name) }

// copyTestdata copies a file of testdata, or a part of it.
func copyTestdata(t *testing.T, from, to string, size int) {
	t.Helper()
	content, err := os.ReadFile(arrowFile(from))
	require.NoError(t, err)
	if size >= 0 {
		content = content[:size]
	}
	require.NoError(t, os.MkdirAll(filepath.Dir(to), 0o700))
	require.NoError(t, os.WriteFile(to, content, 0o600))
}

func arrowSource(t *testing.T, o tables.Options) (s *tables.Source, copies string) {
	t.Helper()
	copies = t.TempDir()
	o.Type, o.TempDirectory = tables.DuckDB, tables.Scratch(copies)
	return open(t, o), copies
}

// profile counts the nulls of all columns.
func profile(t *testing.T, s *tables.Source, files string, how tables.Reading) ([]tables.Column, tables.Profile, error) {
	t.Helper()
	r, err := s.Files(files, "")
	require.NoError(t, err)
	r = r.ReadAs(how, s)
	schema, err := s.Schema(t.Context(), r)
	if err != nil {
		return nil, tables.Profile{}, err
	}
	fields := tables.Fields{}
	for _, c := range schema {
		fields[c.Name] = nil
	}
	p, err := s.Count(t.Context(), r, schema, tables.Window{}, fields, asOf)
	return schema, p, err
}

// types are the names and types of columns.
func typesOf(schema []tables.Column) [][2]string {
	types := make([][2]string, len(schema))
	for i, c := range schema {
		types[i] = [2]string{c.Name, c.Type}
	}
	return types
}

func TestArrowFilesHaveTheSchemaAndTheNullsOfTheSameTableInParquet(t *testing.T) {
	s, _ := arrowSource(t, tables.Options{})
	for name, tc := range map[string]struct {
		parquet string
		arrow   []string
	}{
		"all types, in files and streams of one and many batches, plain and compressed": {
			"types.parquet",
			[]string{"types.uncompressed.feather", "types.lz4.feather", "types.zstd.feather", "types.arrow", "types.arrows"},
		},
		"types that Parquet does not have as they are": {"views.parquet", []string{"views.arrow"}},
		"no rows": {"empty.parquet", []string{"empty.feather"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, file := range tc.arrow {
				wantSchema, want, err := profile(t, s, arrowFile(tc.parquet), tables.Reading{})
				require.NoError(t, err)
				schema, p, err := profile(t, s, arrowFile(file), tables.Reading{})
				require.NoError(t, err, file)
				require.Equal(t, typesOf(wantSchema), typesOf(schema), file)
				require.Equal(t, want, p, file)
			}
		})
	}
}

func TestArrowFilesHaveTheValuesOfTheSameTableInParquet(t *testing.T) {
	for arrowName, parquet := range map[string]string{
		"types.uncompressed.feather": "types.parquet", "types.lz4.feather": "types.parquet", "types.zstd.feather": "types.parquet",
		"types.arrow": "types.parquet", "types.arrows": "types.parquet", "views.arrow": "views.parquet",
	} {
		t.Run(arrowName, func(t *testing.T) {
			s, copies := arrowSource(t, tables.Options{})
			_, _, err := profile(t, s, arrowFile(arrowName), tables.Reading{})
			require.NoError(t, err)
			made, err := filepath.Glob(filepath.Join(copies, "*", "1", "copy.parquet"))
			require.NoError(t, err)
			require.Len(t, made, 1)
			db, err := sql.Open("duckdb", "")
			require.NoError(t, err)
			defer db.Close()
			text := func(file string) string {
				var rows string
				// As text, since NaN and the order of a map's keys count too.
				require.NoError(t, db.QueryRow("SELECT string_agg(CAST(t AS VARCHAR), chr(10)) FROM read_parquet('"+file+"') AS t").Scan(&rows))
				return rows
			}
			require.Equal(t, text(arrowFile(parquet)), text(made[0]))
		})
	}
}

func TestNaNOfAnArrowFileIsMissingByDefault(t *testing.T) {
	off := false
	for name, tc := range map[string]struct {
		file       string
		reading    tables.Reading
		lost, half int64
	}{
		"NaN is missing":                   {"nan.arrow", tables.Reading{}, 200, 100},
		"NaN is a value":                   {"nan.arrow", tables.Reading{NaNIsMissing: &off}, 0, 0},
		"NaN written by pandas is missing": {"nan.feather", tables.Reading{}, 200, 100},
		"and null, with or without NaN":    {"nan.feather", tables.Reading{NaNIsMissing: &off}, 200, 100},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := arrowSource(t, tables.Options{})
			_, p, err := profile(t, s, arrowFile(tc.file), tc.reading)
			require.NoError(t, err)
			require.EqualValues(t, 200, p.Rows)
			require.Equal(t, tc.lost, p.Nulls["lost"])
			require.Equal(t, tc.half, p.Nulls["half"])
		})
	}
}

func TestNaNOfAFileIsCountedAsWhenTheBinsWereCut(t *testing.T) {
	for name, tc := range map[string]struct {
		layout    binning.Layout
		null, nan int64
	}{
		"bins where NaN is missing":                     {binning.Layout{Kind: binning.Numeric, Edges: []float64{5}, Float: true, NaNMissing: true, Ranged: true}, 100, 0},
		"bins of version 0.1, which count it":           {binning.NewNumeric([]float64{0, 5, 9}, true), 0, 100},
		"bins of a database, whose NULL is the missing": {binning.NewRanged([]float64{0, 5, 9}, 0, 9, 2, true), 100, 0},
		"bins of whole numbers":                         {binning.NewNumeric([]float64{0, 5, 9}, false), 100, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := arrowSource(t, tables.Options{})
			r, err := s.Files(arrowFile("nan.arrow"), "")
			require.NoError(t, err)
			schema, err := s.Schema(t.Context(), r)
			require.NoError(t, err)
			p, err := s.Count(t.Context(), r, schema, tables.Window{}, tables.Fields{"half": &tc.layout}, asOf)
			require.NoError(t, err)
			require.Equal(t, tc.null, p.Values["half"][binning.Null])
			require.Equal(t, tc.null, p.Nulls["half"])
			require.Equal(t, tc.nan, p.Values["half"][binning.NaN])
		})
	}
}

func TestArrowFilesThatCannotBeReadAreSkippedAndCounted(t *testing.T) {
	dir := t.TempDir()
	copyTestdata(t, "types.lz4.feather", filepath.Join(dir, "1.feather"), -1)
	copyTestdata(t, "types.lz4.feather", filepath.Join(dir, "2.feather"), 4000)
	copyTestdata(t, "types.arrows", filepath.Join(dir, "3.feather"), -1)
	copyTestdata(t, "types.arrows", filepath.Join(dir, "4.feather"), 9000)
	copyTestdata(t, "types.parquet", filepath.Join(dir, "5.feather"), -1)
	copyTestdata(t, "types.parquet", filepath.Join(dir, "6.feather"), 0)
	s, _ := arrowSource(t, tables.Options{})
	_, p, err := profile(t, s, filepath.Join(dir, "*.feather"), tables.Reading{OnUnreadable: tables.SkipUnreadable})
	require.NoError(t, err)
	require.EqualValues(t, 6, p.Rows)
	var skipped []string
	for _, name := range p.Unreadable {
		skipped = append(skipped, filepath.Base(name))
	}
	require.ElementsMatch(t, []string{"2.feather", "4.feather", "5.feather", "6.feather"}, skipped)
	_, _, err = profile(t, s, filepath.Join(dir, "*.feather"), tables.Reading{})
	require.ErrorContains(t, err, `2.feather": not a readable Arrow file: its end does not say what is in it; was it copied whole?`)
	_, _, err = profile(t, s, filepath.Join(dir, "[24].feather"), tables.Reading{OnUnreadable: tables.SkipUnreadable})
	require.ErrorContains(t, err, "none of the 2 files that match")
}

func TestErrorsOfArrowFilesSayWhatToDo(t *testing.T) {
	dir := t.TempDir()
	copyTestdata(t, "types.parquet", filepath.Join(dir, "parquet.arrow"), -1)
	copyTestdata(t, "types.parquet", filepath.Join(dir, "empty.arrow"), 0)
	for file, want := range map[string]string{
		arrowFile("union.feather"):          `column "b": its type sparse_union`,
		arrowFile("version1.feather"):       "it is a Feather file of version 1; write version 2",
		filepath.Join(dir, "parquet.arrow"): `it begins with "PAR1`,
		filepath.Join(dir, "empty.arrow"):   "it is empty",
	} {
		s, _ := arrowSource(t, tables.Options{})
		_, _, err := profile(t, s, file, tables.Reading{})
		require.ErrorContains(t, err, want)
	}
	s, _ := arrowSource(t, tables.Options{})
	for name, want := range map[string]string{
		"orders.arrow.gz":            "want one with compressed buffers",
		"s3://bucket/orders.feather": "Arrow files are read only from a local or mounted folder; want Parquet",
		"https://host/*.ipc":         "Arrow files are read only from a local or mounted folder; want Parquet",
		"ORDERS.XLSX":                `does not end in .parquet, .arrow, .feather`,
	} {
		_, err := s.Files(name, "")
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, tables.CheckFiles(name), want)
	}
}

// A stream that breaks off anywhere is unreadable, or has the batches before the break: a stream may end without a mark.
func TestAnArrowStreamThatBreaksOffIsUnreadable(t *testing.T) {
	content, err := os.ReadFile(arrowFile("types.arrows"))
	require.NoError(t, err)
	s, _ := arrowSource(t, tables.Options{})
	dir := t.TempDir()
	read := map[int64]int{}
	for size := 1; size < len(content); size += 61 {
		file := filepath.Join(dir, fmt.Sprint(size)+".arrows")
		require.NoError(t, os.WriteFile(file, content[:size], 0o600))
		_, p, err := profile(t, s, file, tables.Reading{})
		if err == nil {
			read[p.Rows]++
			continue
		}
		require.ErrorContains(t, err, "not a readable Arrow file")
	}
	require.Less(t, read[0]+read[1]+read[2]+read[3], 3, "%v", read)
}

// A damaged file is an error or has other values. It never ends the process, nor takes memory that it only claims to need.
func TestDamagedArrowFileDoesNotPanic(t *testing.T) {
	s, _ := arrowSource(t, tables.Options{MemoryLimit: 64 << 20, ArrowDiskLimit: 1 << 30})
	dir := t.TempDir()
	const damages = 100 // of each file; 5000 were tried.
	state := uint32(1)
	random := func(n int) int { state = state*1664525 + 1013904223; return int(state>>8) % n }
	for _, name := range []string{"types.lz4.feather", "types.uncompressed.feather", "types.arrows", "views.arrow"} {
		content, err := os.ReadFile(arrowFile(name))
		require.NoError(t, err)
		for i := range damages {
			damaged := append([]byte(nil), content...)
			for range 1 + i%4 {
				damaged[8+random(len(damaged)-8)] = byte(random(256))
			}
			file := filepath.Join(dir, fmt.Sprint(i)+filepath.Ext(name))
			require.NoError(t, os.WriteFile(file, damaged, 0o600))
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			r, err := s.Files(file, "")
			require.NoError(t, err)
			_, _ = s.Schema(ctx, r)
			cancel()
		}
	}
}

func TestReplacedArrowFileIsReadAgain(t *testing.T) {
	s, copies := arrowSource(t, tables.Options{})
	file := filepath.Join(t.TempDir(), "part=2026-11-24", "orders.feather")
	copyTestdata(t, "types.lz4.feather", file, -1)
	for range 3 {
		schema, p, err := profile(t, s, file, tables.Reading{})
		require.NoError(t, err)
		require.EqualValues(t, 3, p.Rows)
		require.Equal(t, [2]string{"part", "DATE"}, typesOf(schema)[len(schema)-1])
	}
	made, err := filepath.Glob(filepath.Join(copies, "*", "*"))
	require.NoError(t, err)
	require.Len(t, made, 1, "a file that stays is copied once")
	next := filepath.Join(filepath.Dir(file), "next")
	copyTestdata(t, "nan.feather", next, -1)
	require.NoError(t, os.Rename(next, file))
	_, p, err := profile(t, s, file, tables.Reading{})
	require.NoError(t, err)
	require.EqualValues(t, 200, p.Rows)
	require.NoError(t, os.Remove(file))
	_, _, err = profile(t, s, file, tables.Reading{})
	require.ErrorContains(t, err, "no file matches")
}

func TestMissingFilesAreAnErrorEvenWithSkipUnreadable(t *testing.T) {
	s, _ := arrowSource(t, tables.Options{})
	for _, files := range []string{"*.parquet", "*.csv", "*.json", "*.arrow"} {
		_, _, err := profile(t, s, filepath.Join(t.TempDir(), files), tables.Reading{OnUnreadable: tables.SkipUnreadable})
		require.ErrorContains(t, err, files)
	}
}

func TestFoldersOfArrowFilesHavePartitions(t *testing.T) {
	s, copies := arrowSource(t, tables.Options{})
	dir := t.TempDir()
	copyTestdata(t, "nan.feather", filepath.Join(dir, "region=QC", "1.feather"), -1)
	copyTestdata(t, "nan.arrow", filepath.Join(dir, "region=ON", "2.arrow"), -1)
	for files, rows := range map[string]int64{dir: 400, filepath.Join(dir, "**", "*.arrow"): 200} {
		schema, p, err := profile(t, s, files, tables.Reading{})
		require.NoError(t, err)
		require.Contains(t, typesOf(schema), [2]string{"region", "VARCHAR"})
		require.Equal(t, rows, p.Rows)
		require.Zero(t, p.Nulls["region"])
	}
	require.NoError(t, s.Close())
	left, err := os.ReadDir(copies)
	require.NoError(t, err)
	require.Empty(t, left, "the copies go with the source")
}

// bigArrow writes rows of a number, a text and a category.
func bigArrow(t *testing.T, file string, rows, perBatch int, options ...ipc.Option) {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "n", Type: arrow.PrimitiveTypes.Int64}, {Name: "x", Type: arrow.PrimitiveTypes.Float64}, {Name: "text", Type: arrow.BinaryTypes.String},
	}, nil)
	f, err := os.Create(file)
	require.NoError(t, err)
	defer f.Close()
	w, err := ipc.NewFileWriter(f, append(options, ipc.WithSchema(schema))...)
	require.NoError(t, err)
	for at := 0; at < rows; at += perBatch {
		b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		for i := at; i < min(rows, at+perBatch); i++ {
			b.Field(0).(*array.Int64Builder).Append(int64(i))
			b.Field(1).(*array.Float64Builder).Append(float64(i) / 3)
			b.Field(2).(*array.StringBuilder).Append(fmt.Sprintf("the text of row %d", i))
		}
		batch := b.NewRecordBatch()
		require.NoError(t, w.Write(batch))
		batch.Release()
		b.Release()
	}
	require.NoError(t, w.Close())
}

func TestLong_BigArrowFileNeedsTheMemoryOfOneBatch(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 120 MB")
	}
	const rows = 2_000_000
	file := filepath.Join(t.TempDir(), "big.arrow")
	bigArrow(t, file, rows, 65536, ipc.WithLZ4())
	s, _ := arrowSource(t, tables.Options{MemoryLimit: 256 << 20, Threads: 1})
	debug.FreeOSMemory()
	stop, peak := make(chan struct{}), make(chan uint64)
	go func() {
		var most uint64
		for {
			select {
			case <-stop:
				peak <- most
				return
			case <-time.After(2 * time.Millisecond):
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapInuse)
			}
		}
	}()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	_, p, err := profile(t, s, file, tables.Reading{})
	close(stop)
	grown := int64(<-peak) - int64(before.HeapInuse)
	require.NoError(t, err)
	require.EqualValues(t, rows, p.Rows)
	t.Logf("copied and counted %d rows in %v; the heap grew by %d MiB", rows, time.Since(start), grown>>20)
	require.Less(t, grown, int64(96<<20))
}

func TestTooLargeBatchIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "big.arrow")
	bigArrow(t, file, 300_000, 300_000, ipc.WithZstd())
	s, _ := arrowSource(t, tables.Options{MemoryLimit: 16 << 20})
	_, _, err := profile(t, s, file, tables.Reading{})
	require.ErrorContains(t, err, "a record batch is too large for half of the source's memory_limit")
	require.ErrorContains(t, err, "max_chunksize=65536")
	s, _ = arrowSource(t, tables.Options{MemoryLimit: 512 << 20})
	_, p, err := profile(t, s, file, tables.Reading{})
	require.NoError(t, err)
	require.EqualValues(t, 300_000, p.Rows)
}

func TestTheCopiesOfArrowFilesHaveALimit(t *testing.T) {
	dir := t.TempDir()
	bigArrow(t, filepath.Join(dir, "1.arrow"), 100_000, 65536)
	s, copies := arrowSource(t, tables.Options{ArrowDiskLimit: 1 << 20})
	_, _, err := profile(t, s, dir, tables.Reading{OnUnreadable: tables.SkipUnreadable})
	require.ErrorContains(t, err, "the copies of Arrow files take more than arrow_disk_limit, 1048576 bytes")
	made, err := filepath.Glob(filepath.Join(copies, "*", "*", "*"))
	require.NoError(t, err)
	require.Empty(t, made, "what was begun is removed")
}

func TestCopyingAnArrowFileStopsWithTheProfile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "1.arrow")
	bigArrow(t, file, 100_000, 65536)
	s, _ := arrowSource(t, tables.Options{})
	r, err := s.Files(file, "")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Schema(ctx, r)
	require.True(t, errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "cancel"), "%v", err)
	_, p, err := profile(t, s, file, tables.Reading{})
	require.NoError(t, err, "that is no property of the file")
	require.EqualValues(t, 100_000, p.Rows)
}
