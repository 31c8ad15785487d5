package bill

import (
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/text/encoding/unicode"
)

// suffixes are the file name endings that are read.
var suffixes = []string{".csv", ".csv.gz", ".csv.zst", ".csv.zstd", ".csv.zip", ".zip", ".parquet"}

// readable reports whether a file is read, by its name.
func readable(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(suffixes, func(suffix string) bool { return strings.HasSuffix(name, suffix) })
}

// hidden reports whether a file was not written by the provider's export: an unfinished copy (.azDownload-…), Spark's
// _temporary, and the files that macOS adds.
func hidden(name string) bool {
	for part := range strings.SplitSeq(filepath.ToSlash(name), "/") {
		if strings.HasPrefix(part, ".") && strings.Trim(part, ".") != "" || part == "_temporary" || part == "__MACOSX" {
			return true
		}
	}
	return false
}

// maxZstdWindow bounds the memory of zstd's decoder.
const maxZstdWindow = 64 << 20

// texts calls read for each CSV file in a file: one, or those of an archive.
func texts(path string, read func(name string, in io.Reader) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	switch name := strings.ToLower(filepath.Base(path)); {
	case strings.HasSuffix(name, ".zip"):
		return damaged(zipped(f, path, read))
	case strings.HasSuffix(name, ".gz"):
		in, err := gzip.NewReader(bufio.NewReaderSize(f, readAhead))
		if err != nil {
			return damaged(err)
		}
		return damaged(read(path, in))
	case strings.HasSuffix(name, ".zst"), strings.HasSuffix(name, ".zstd"):
		in, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxZstdWindow))
		if err != nil {
			return err
		}
		defer in.Close()
		return damaged(read(path, in))
	}
	return read(path, f)
}

// damaged explains an error of a compressed file.
func damaged(err error) error {
	is := func(targets ...error) bool {
		return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
	}
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), err == io.EOF: //nolint:errorlint // A file of no bytes at all has no header.
		return fmt.Errorf("the compressed file is cut off, expected its end: it is still being written, or its upload broke off: %w", err)
	case is(gzip.ErrHeader, zstd.ErrMagicMismatch, zip.ErrFormat):
		return fmt.Errorf("the file is not what the end of its name says, or it is cut off: %w", err)
	case is(gzip.ErrChecksum, zstd.ErrCRCMismatch, zip.ErrChecksum):
		return fmt.Errorf("the compressed file is damaged, deliver it again: %w", err)
	}
	return err
}

func zipped(f *os.File, path string, read func(string, io.Reader) error) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	archive, err := zip.NewReader(f, info.Size())
	if err != nil {
		return err
	}
	found := false
	for _, member := range archive.File {
		switch {
		case hidden(member.Name) || !readable(member.Name):
			continue
		case !strings.HasSuffix(strings.ToLower(member.Name), ".csv"):
			return fmt.Errorf("the archive has %s in it, and of an archive only .csv is read", member.Name)
		}
		found = true
		in, err := member.Open()
		if err != nil {
			return fmt.Errorf("%s: %w", member.Name, err)
		}
		if err := errors.Join(read(path+":"+member.Name, in), in.Close()); err != nil {
			return fmt.Errorf("%s: %w", member.Name, err)
		}
	}
	if !found {
		return errors.New("the archive has no .csv in it")
	}
	return nil
}

// asUTF8 converts UTF-16, which spreadsheets write, to UTF-8, and removes the byte order mark of either.
func asUTF8(in io.Reader) (io.Reader, error) {
	buffered := bufio.NewReaderSize(in, 16)
	mark, err := buffered.Peek(3)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(mark, []byte("\xef\xbb\xbf")):
		_, err := buffered.Discard(3)
		return buffered, err
	case bytes.HasPrefix(mark, []byte("\xff\xfe")), bytes.HasPrefix(mark, []byte("\xfe\xff")):
		return unicode.UTF16(unicode.LittleEndian, unicode.ExpectBOM).NewDecoder().Reader(buffered), nil
	case len(mark) > 1 && (mark[0] == 0) != (mark[1] == 0):
		return nil, errors.New("is UTF-16 without a byte order mark, expected UTF-8, or UTF-16 with one")
	}
	return buffered, nil
}

// delimiters are the delimiters that are accepted.
const delimiters = ",;\t"

// delimiter is the separator of the column names: the accepted delimiter that occurs most often outside of quotes.
func delimiter(line []byte) byte {
	var count [256]int
	within := false
	for _, c := range line {
		if c == '"' {
			within = !within
		}
		if !within {
			count[c]++
		}
	}
	best := delimiters[0]
	for _, d := range []byte(delimiters) {
		if count[d] > count[best] {
			best = d
		}
	}
	return best
}
