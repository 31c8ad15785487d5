package bill_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

func TestUnambiguousFilesAreRead(t *testing.T) {
	t.Parallel()
	plain := columns + "\n" + line(map[string]string{"EffectiveCost": "1.5"}) + "\n"
	pressed := func(open func(*bytes.Buffer) func([]byte)) []byte {
		var b bytes.Buffer
		open(&b)([]byte(plain))
		return b.Bytes()
	}
	for name, content := range map[string][]byte{
		"semicolons.csv": []byte(strings.ReplaceAll(plain, ",", ";")),
		"tabs.csv":       []byte(strings.ReplaceAll(plain, ",", "\t")),
		"utf16.csv": func() []byte {
			b := []byte{0xff, 0xfe}
			for _, c := range utf16.Encode([]rune(plain)) {
				b = append(b, byte(c), byte(c>>8))
			}
			return b
		}(),
		"snake.csv": []byte(strings.NewReplacer("BillingCurrency", "billing_currency", "ChargePeriodStart", "charge_period_start", "EffectiveCost", "effective_cost").Replace(plain)),
		"bill.csv.gz": pressed(func(b *bytes.Buffer) func([]byte) {
			return func(p []byte) { w := gzip.NewWriter(b); _, _ = w.Write(p); require.NoError(t, w.Close()) }
		}),
		"bill.csv.zst": pressed(func(b *bytes.Buffer) func([]byte) {
			return func(p []byte) {
				w, err := zstd.NewWriter(b)
				require.NoError(t, err)
				_, _ = w.Write(p)
				require.NoError(t, w.Close())
			}
		}),
		"bill.zip": pressed(func(b *bytes.Buffer) func([]byte) {
			return func(p []byte) {
				w := zip.NewWriter(b)
				f, err := w.Create("part_0.csv")
				require.NoError(t, err)
				_, _ = f.Write(p)
				require.NoError(t, w.Close())
			}
		}),
	} {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(path, content, 0o600))
		s := read(t, newReader(t, nil), path)
		require.Empty(t, s.Problems, name)
		require.Len(t, s.Lines, 1, name)
		require.Equal(t, "1.5", s.Lines[0].Amount.String(), name)
	}
}

func TestFilesOfOtherFormatsAreRecognized(t *testing.T) {
	t.Parallel()
	const aws, azure = "make a data export of the table FOCUS in AWS Billing, Data Exports", `make an export of the type "Cost and usage details (FOCUS)" in Azure Cost Management`
	const oci, google = `take the FOCUS reports from the same bucket, in its folder "FOCUS Reports"`, "make Google's FOCUS view in BigQuery and export it"
	for name, tc := range map[string]struct{ header, format, remedy string }{
		"AWS CUR":                            {"identity/LineItemId,identity/TimeInterval,bill/InvoiceId,lineItem/UnblendedCost", "AWS's Cost and Usage Report", aws},
		"AWS CUR 2.0":                        {"bill_bill_type,identity_line_item_id,line_item_unblended_cost", "AWS's Cost and Usage Report 2.0", aws},
		"AWS CUR without the unblended cost": {"identity/LineItemId,lineItem/BlendedCost", "AWS's Cost and Usage Report", aws},
		"Azure actual cost, EA":              {"InvoiceSectionName,Date,MeterCategory,MeterId,CostInBillingCurrency,BillingCurrencyCode", "Azure's actual or amortized cost", azure},
		"Azure actual cost, MCA":             {"invoiceId,date,meterCategory,costInBillingCurrency,costInUsd", "Azure's actual or amortized cost", azure},
		"Azure cost, pay as you go":          {"SubscriptionGuid,ResourceGroup,UsageDateTime,MeterCategory,PreTaxCost,Currency", "Azure's actual or amortized cost", azure},
		"OCI cost":                           {"lineItem/referenceNo,lineItem/tenantId,lineItem/intervalUsageStart,cost/myCost", "OCI's cost report", oci},
		"OCI usage":                          {"lineItem/referenceNo,lineItem/tenantId,lineItem/intervalUsageStart,usage/consumedQuantity", "OCI's usage report", oci},
		"Google's standard export":           {"billing_account_id,service.id,service.description,usage_start_time,cost", "Google's billing export", google},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "bill.csv")
			require.NoError(t, os.WriteFile(path, []byte(tc.header+"\n"), 0o600))
			_, err := newReader(t, nil).Read(context.Background(), path)
			require.ErrorContains(t, err, fmt.Sprintf("the file has %q: it looks like %s, and not like FOCUS: %s", strings.ReplaceAll(tc.header, ",", ", "), tc.format, tc.remedy))
		})
	}
	path := filepath.Join(t.TempDir(), "bill.csv")
	require.NoError(t, os.WriteFile(path, []byte("Day,Amount\n"), 0o600))
	_, err := newReader(t, nil).Read(context.Background(), path)
	require.ErrorContains(t, err, `expected those of FOCUS 1.0 or later, and the file has "Day, Amount"`)
}

func TestBrokenCompressedFileIsAnError(t *testing.T) {
	t.Parallel()
	var lines []string
	for n := range 2000 {
		lines = append(lines, line(map[string]string{"EffectiveCost": fmt.Sprint(n), "ResourceId": fmt.Sprint(n * n)}))
	}
	text := []byte(columns + "\n" + strings.Join(lines, "\n") + "\n")
	type writer interface {
		io.WriteCloser
		Flush() error
	}
	// made compresses half of the text, flushes that, and compresses the rest; it returns where the half ends.
	made := func(open func(io.Writer) writer) (whole []byte, flushed int) {
		var b bytes.Buffer
		w := open(&b)
		half := bytes.LastIndexByte(text[:len(text)/2], '\n') + 1
		_, err := w.Write(text[:half])
		require.NoError(t, err)
		require.NoError(t, w.Flush())
		flushed = b.Len()
		_, err = w.Write(text[half:])
		require.NoError(t, err)
		require.NoError(t, w.Close())
		return b.Bytes(), flushed
	}
	gz, gzHalf := made(func(b io.Writer) writer { return gzip.NewWriter(b) })
	zst, zstHalf := made(func(b io.Writer) writer {
		w, err := zstd.NewWriter(b)
		require.NoError(t, err)
		return w
	})
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	member, err := w.Create("part_0.csv")
	require.NoError(t, err)
	_, err = member.Write(text)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	zipped := archive.Bytes()
	changed := func(content []byte, at int) []byte {
		content = bytes.Clone(content)
		content[at] ^= 0xff
		return content
	}
	const cut, other, damaged = "the compressed file is cut off, expected its end", "is not what the end of its name says, or it is cut off", "the compressed file is damaged"
	for name, tc := range map[string]struct {
		file    string
		content []byte
		want    string
	}{
		"gzip, cut at a flush point":                 {"bill.csv.gz", gz[:gzHalf], cut},
		"gzip, cut within a block":                   {"bill.csv.gz", gz[:len(gz)/3], cut},
		"gzip, cut before its checksum":              {"bill.csv.gz", gz[:len(gz)-8], cut},
		"gzip, cut within its checksum":              {"bill.csv.gz", gz[:len(gz)-2], cut},
		"gzip, cut within its header":                {"bill.csv.gz", gz[:5], cut},
		"gzip, of no bytes":                          {"bill.csv.gz", nil, cut},
		"gzip, with another checksum":                {"bill.csv.gz", changed(gz, len(gz)-6), damaged},
		"gzip, with something behind it":             {"bill.csv.gz", append(bytes.Clone(gz), "more and more"...), other},
		"gzip, that is plain text":                   {"bill.csv.gz", text, other},
		"zstd, cut at a flush point":                 {"bill.csv.zst", zst[:zstHalf], cut},
		"zstd, cut within a block":                   {"bill.csv.zst", zst[:len(zst)/3], cut},
		"zstd, cut before its checksum":              {"bill.csv.zst", zst[:len(zst)-4], cut},
		"zstd, with another checksum":                {"bill.csv.zst", changed(zst, len(zst)-2), damaged},
		"zstd, with something behind it":             {"bill.csv.zst", append(bytes.Clone(zst), "more and more"...), other},
		"zstd, that is plain text":                   {"bill.csv.zstd", text, other},
		"zstd, of no bytes":                          {"bill.csv.zst", nil, "is empty"},
		"zip, cut before its table":                  {"bill.zip", zipped[:len(zipped)-30], other},
		"zip, cut within a file":                     {"bill.csv.zip", zipped[:len(zipped)/2], other},
		"zip, of no bytes":                           {"bill.zip", nil, other},
		"zip, whose content is damaged":              {"bill.zip", changed(zipped, len(zipped)/2), ""},
		"zip, with nothing that is a bill":           {"bill.zip", bytes.ReplaceAll(zipped, []byte("part_0.csv"), []byte("part_0.txt")), "the archive has no .csv in it"},
		"zip, with Parquet, which is not read there": {"bill.zip", bytes.ReplaceAll(zipped, []byte("part_0.csv"), []byte("a0.parquet")), "the archive has a0.parquet in it, and of an archive only .csv is read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), tc.file)
			require.NoError(t, os.WriteFile(path, tc.content, 0o600))
			_, err := newReader(t, nil).Read(context.Background(), path)
			require.ErrorContains(t, err, tc.want)
			require.ErrorContains(t, err, path)
		})
	}
}
