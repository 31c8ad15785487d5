package baseline

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/thanos-io/objstore"

	"github.com/sightglass-ml/sightglass/internal/binning"
)

var fixtureHeader = header{
	Kind:    kindDefinition,
	Subject: "dataset/orders",
	Stem:    "definition-00000",
	Created: time.Date(2026, 1, 5, 6, 7, 8, 9, time.UTC),
}

// fixtures returns what the files in testdata hold, by name.
func fixtures(t *testing.T) map[string][]byte {
	seal := func(change func(*header), payload any) []byte {
		h := fixtureHeader
		if change != nil {
			change(&h)
		}
		data, err := encode(h, payload)
		require.NoError(t, err)
		return data
	}
	good := seal(nil, testDefinition())
	var indented bytes.Buffer
	require.NoError(t, json.Indent(&indented, good, "", "  "))
	return map[string][]byte{
		"definition.good.json":    good,
		"empty.bad.json":          {},
		"truncated.bad.json":      good[:len(good)/2],
		"changed.bad.json":        bytes.Replace(good, []byte("12.5"), []byte("12.6"), 1),
		"indented.bad.json":       indented.Bytes(),
		"respaced.bad.json":       bytes.Replace(good, []byte(`,"version":`), []byte(`, "version": `), 1),
		"appended.bad.json":       append(bytes.Clone(good), "{}\n"...),
		"zeroed.bad.json":         make([]byte, 64),
		"foreign.bad.json":        []byte(`{"groups":[{"name":"alerts"}]}` + "\n"),
		"newer.bad.json":          []byte(`{"format":"sightglass-baseline","version":3,"codec":"zstd","payload":"KLUv"}` + "\n"),
		"unversioned.bad.json":    []byte(`{"format":"sightglass-baseline","version":"1"}` + "\n"),
		"other-subject.bad.json":  seal(func(h *header) { h.Subject = "dataset/payments" }, testDefinition()),
		"other-object.bad.json":   seal(func(h *header) { h.Stem = "definition-00001" }, testDefinition()),
		"other-kind.bad.json":     seal(func(h *header) { h.Kind = kindTraining }, testDefinition()),
		"unknown-field.bad.json":  seal(nil, map[string]any{"edges": "training", "colour": "red"}),
		"wrong-type.bad.json":     seal(nil, []int{1}),
		"invalid-layout.bad.json": seal(nil, Definition{Edges: EdgesTraining, Fields: map[string]binning.Layout{"amount": {Kind: binning.Numeric, Edges: []float64{2, 1}}}}),
	}
}

const (
	leftCorrupt = "; it was left as it is: restore it from a backup, or start anew with 'sightglass baseline reset'"
	leftForeign = "; it was left as it is: move it away, or start anew with 'sightglass baseline reset'"
)

// badFixtures are the exact messages.
var badFixtures = map[string]struct {
	is   error
	text string
}{
	"empty.bad.json":          {ErrCorrupt, " is damaged: it is empty" + leftCorrupt},
	"truncated.bad.json":      {ErrCorrupt, " is damaged: it is not the JSON that was written (273 bytes: unexpected end of JSON input)" + leftCorrupt},
	"changed.bad.json":        {ErrCorrupt, ` is damaged: its content has the checksum "CHANGED", expected "GOOD"` + leftCorrupt},
	"indented.bad.json":       {ErrForeign, ` does not belong here: it begins with "{\n  \"format\": \"sightglass-baseli", expected "{\"format\":\"sightglass-baseline\","` + leftForeign},
	"respaced.bad.json":       {ErrCorrupt, " is damaged: its content has the right checksum, but is not written as this program writes it" + leftCorrupt},
	"appended.bad.json":       {ErrCorrupt, " is damaged: it is not the JSON that was written (550 bytes: invalid character '{' after top-level value)" + leftCorrupt},
	"zeroed.bad.json":         {ErrForeign, ` does not belong here: it begins with "` + strings.Repeat(`\x00`, len(magic)) + `", expected "{\"format\":\"sightglass-baseline\","` + leftForeign},
	"foreign.bad.json":        {ErrForeign, ` does not belong here: it begins with "{\"groups\":[{\"name\":\"alerts\"}]}\n", expected "{\"format\":\"sightglass-baseline\","` + leftForeign},
	"newer.bad.json":          {ErrNewer, " was written by a newer version: its format has version 3, this program reads 2; upgrade this program"},
	"unversioned.bad.json":    {ErrCorrupt, " is damaged: it is not the JSON that was written (47 bytes: json: cannot unmarshal string into Go struct field .Version of type int)" + leftCorrupt},
	"other-subject.bad.json":  {ErrForeign, ` does not belong here: its subject is "dataset/payments", expected "dataset/orders"` + leftForeign},
	"other-object.bad.json":   {ErrForeign, ` does not belong here: its object is "definition-00001", expected "definition-00000"` + leftForeign},
	"other-kind.bad.json":     {ErrForeign, ` does not belong here: its kind is "training", expected "definition"` + leftForeign},
	"unknown-field.bad.json":  {ErrCorrupt, ` is damaged: its payload cannot be read: json: unknown field "colour"` + leftCorrupt},
	"wrong-type.bad.json":     {ErrCorrupt, " is damaged: its payload cannot be read: json: cannot unmarshal array into Go value of type baseline.Definition" + leftCorrupt},
	"invalid-layout.bad.json": {ErrCorrupt, ` is damaged: its payload is not valid: field "amount": edge 1 (1) is not above edge 0 (2)` + leftCorrupt},
}

func TestTheFormatDoesNotChange(t *testing.T) {
	for name, want := range fixtures(t) {
		path := filepath.Join("testdata", name)
		if *update {
			require.NoError(t, os.WriteFile(path, want, 0o644))
		}
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, string(want), string(got), "%s: a new format needs a new version", name)
	}
	var d Definition
	h, err := decode("x", fixtures(t)["definition.good.json"], fixtureHeader, &d)
	require.NoError(t, err)
	require.Equal(t, testDefinition(), d)
	require.Equal(t, fixtureHeader.Created, h.Created)

	// Written by version 0.1.
	earlier, err := os.ReadFile("testdata/definition-1.good.json")
	require.NoError(t, err)
	require.Contains(t, string(earlier), `"version":1,`)
	_, err = decode("x", earlier, fixtureHeader, &d)
	require.NoError(t, err)
	require.Equal(t, testDefinition(), d)
}

func TestInvalidObjectsAreRefusedAndKept(t *testing.T) {
	all := fixtures(t)
	checksum := func(name string) string {
		var e envelope
		require.NoError(t, json.Unmarshal(all[name], &e))
		_, err := e.seal()
		require.NoError(t, err)
		return e.SHA256
	}
	files, err := filepath.Glob("testdata/*.bad.json")
	require.NoError(t, err)
	require.Len(t, badFixtures, len(files))
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			content, err := os.ReadFile(file)
			require.NoError(t, err)
			bad := badFixtures[filepath.Base(file)]
			ctx, dir := t.Context(), t.TempDir()
			object := filepath.Join(dir, "dataset", "orders", "definition-00000.json")
			require.NoError(t, os.MkdirAll(filepath.Dir(object), 0o755))
			require.NoError(t, os.WriteFile(object, content, 0o600))
			b := openFolder(t, dir).Subject("dataset", "orders")

			_, err = view(t, b).Definition(ctx)
			var refused *ObjectError
			require.ErrorAs(t, err, &refused)
			require.ErrorIs(t, err, bad.is)
			require.Equal(t, "dataset/orders/definition-00000.json", refused.Object)
			if bad.text != "" {
				text := strings.NewReplacer("CHANGED", checksum("changed.bad.json"), "GOOD", checksum("definition.good.json")).Replace(bad.text)
				require.EqualError(t, err, "baseline store fs: "+dir+": dataset/orders/definition-00000.json"+text)
			}

			// Nothing that writes gets past it, either.
			_, err = b.CreateDefinition(ctx, testDefinition())
			require.ErrorIs(t, err, bad.is)
			_, err = b.CreateTraining(ctx, Counts{})
			require.ErrorIs(t, err, bad.is)
			_, err = b.AddDay(ctx, day(1), Counts{})
			require.ErrorIs(t, err, bad.is)
			_, err = b.Freeze(ctx)
			require.ErrorIs(t, err, bad.is)
			after, err := os.ReadFile(object)
			require.NoError(t, err)
			require.Equal(t, content, after)

			// A reset does, and leaves it.
			require.NoError(t, b.Reset(ctx, PartDefinition))
			_, err = b.CreateDefinition(ctx, testDefinition())
			require.NoError(t, err)
			after, err = os.ReadFile(object)
			require.NoError(t, err)
			require.Equal(t, content, after)
		})
	}
}

// TestADayCopiedToAnotherDayIsRefused is one way in which a day could be counted
// twice.
func TestADayCopiedToAnotherDayIsRefused(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	b := openFolder(t, dir).Subject("dataset", "orders")
	def, err := b.CreateDefinition(ctx, testDefinition())
	require.NoError(t, err)
	_, err = b.AddDay(ctx, day(1), countsOf(def.ID, day(1)))
	require.NoError(t, err)
	gens := view(t, b).gens
	path := func(n int) string { return filepath.Join(dir, b.dir, gens.day(def.ID, day(n))+".json") }
	content, err := os.ReadFile(path(1))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path(2), content, 0o644))
	_, err = view(t, b).Production(ctx, 30)
	require.ErrorIs(t, err, ErrForeign)
}

func TestADamagedLastGoodSnapshotIsNotReplaced(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	b := openFolder(t, dir).Subject("dataset", "orders")
	require.NoError(t, view(t, b).SetLastGood(ctx, "one"))
	path := filepath.Join(dir, b.dir, "last_good-00000.json")
	require.NoError(t, os.WriteFile(path, []byte("two"), 0o644))
	require.ErrorIs(t, view(t, b).SetLastGood(ctx, "three"), ErrForeign)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "two", string(content))
	require.NoError(t, b.Reset(ctx, PartLastGood))
	require.NoError(t, view(t, b).SetLastGood(ctx, "three"))
}

func TestHugeObjectIsNotReadCompletely(t *testing.T) {
	bucket := objstore.NewInMemBucket()
	require.NoError(t, bucket.Upload(t.Context(), "dataset/orders/definition-00000.json", bytes.NewReader(make([]byte, maxObjectBytes+100))))
	s := New(bucket, WithSettle(0))
	data, err := s.get(t.Context(), "dataset/orders/definition-00000.json")
	require.NoError(t, err)
	require.Len(t, data, maxObjectBytes+1)
	_, err = view(t, s.Subject("dataset", "orders")).Definition(t.Context())
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, "it is longer than 67108864 bytes")

	_, err = encode(fixtureHeader, strings.Repeat("x", maxObjectBytes))
	require.ErrorContains(t, err, "are too many, at most 67108864 can be read back")
}

func FuzzDecode(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.json")
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(f, err)
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var d Definition
		h, err := decode("x", data, fixtureHeader, &d)
		if err != nil {
			var refused *ObjectError
			require.ErrorAs(t, err, &refused)
			return
		}
		// Only what the encoder writes is accepted, or wrote when definitions had the version before.
		if bytes.HasPrefix(data, []byte(magic+`"version":1,`)) {
			return
		}
		h.Sum = ""
		require.NoError(t, d.validate())
		again, err := encode(h, json.RawMessage(payloadOf(t, data)))
		require.NoError(t, err)
		require.Equal(t, string(data), string(again))
	})
}

func payloadOf(t *testing.T, data []byte) []byte {
	var e envelope
	require.NoError(t, json.Unmarshal(data, &e))
	return e.Payload
}
