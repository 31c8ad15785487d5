package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// shop is a config with everything the decoder supports.
type shop struct {
	Name     string            `yaml:"name"`
	Interval Duration          `yaml:"interval"`
	Memory   Bytes             `yaml:"memory"`
	Share    float64           `yaml:"share"`
	Workers  uint8             `yaml:"workers"`
	Verbose  bool              `yaml:"verbose"`
	Labels   map[string]string `yaml:"labels"`
	Tables   []table           `yaml:"tables"`
	Store    store             `yaml:"store"`
	Password *SecretSource     `yaml:"password"`
	Bucket   Raw               `yaml:"bucket"`
	Common   `yaml:",inline"`
	hidden   int
}

type Common struct {
	Cluster string `yaml:"cluster"`
}

type table struct {
	Pos     Pos                `yaml:"-"`
	Name    string             `yaml:"name"`
	Window  Duration           `yaml:"window"`
	Limits  map[string]float64 `yaml:"limits"`
	Columns []string           `yaml:"columns"`
	Nested  *table             `yaml:"nested"`
}

type store struct {
	Folder Path     `yaml:"folder"`
	Keep   Duration `yaml:"keep"`
}

func (s *shop) SetDefaults()  { s.Interval, s.Workers = Duration(time.Minute), 4 }
func (t *table) SetDefaults() { t.Window = Duration(time.Hour) }
func (s *store) SetDefaults() { s.Keep = Duration(24 * time.Hour) }

func (t *table) Validate(at At) {
	if t.Name == "" {
		at.Errorf("name", "is required")
	}
	if t.Window <= 0 {
		at.Errorf("window", "is %s; want more than 0", t.Window)
	}
}

func (s *shop) Validate(at At) {
	if s.Share > 1 {
		at.Errorf("share", "is %v; want a ratio from 0 to 1", s.Share)
	}
}

func TestAValidFileIsDecodedWithDefaultsAtEveryLevel(t *testing.T) {
	var s shop
	require.NoError(t, Decode("/etc/shop/shop.yml", []byte(`
name: 1.10
share: 1
memory: 512MiB
verbose: true
cluster: eu
labels: {team: ml, "a.b": c}
tables:
  - name: orders
    columns: [id, 2026-01-01, true]
  - name: "lines\nof orders"
    window: 30d
    limits: {null_ratio: 0.05}
    nested: {name: inner}
store:
  folder: data/baselines
password: {file: pw}
bucket: {type: S3, config: {bucket: b}}
`), &s))
	require.Equal(t, "1.10", s.Name, "text keeps what was written")
	require.Equal(t, Duration(time.Minute), s.Interval)
	require.Equal(t, uint8(4), s.Workers)
	require.InDelta(t, 1, s.Share, 0, "a whole number is a number")
	require.Equal(t, Bytes(512<<20), s.Memory)
	require.True(t, s.Verbose)
	require.Equal(t, "eu", s.Cluster)
	require.Equal(t, map[string]string{"team": "ml", "a.b": "c"}, s.Labels)
	require.Len(t, s.Tables, 2)
	require.Equal(t, Duration(time.Hour), s.Tables[0].Window)
	require.Equal(t, []string{"id", "2026-01-01", "true"}, s.Tables[0].Columns)
	require.Equal(t, Duration(30*24*time.Hour), s.Tables[1].Window)
	require.Equal(t, Duration(time.Hour), s.Tables[1].Nested.Window)
	require.Equal(t, Pos{File: "/etc/shop/shop.yml", Line: 11, Key: "tables[1]"}, s.Tables[1].Pos)
	require.Equal(t, Path("/etc/shop/data/baselines"), s.Store.Folder)
	require.Equal(t, Duration(24*time.Hour), s.Store.Keep)
	require.Equal(t, Path("/etc/shop/pw"), s.Password.File)
	require.YAMLEq(t, "{type: S3, config: {bucket: b}}", string(s.Bucket.YAML()))
	require.Zero(t, s.hidden)
}

func TestAnEmptyPathMeansAllDefaults(t *testing.T) {
	s, err := Load[shop]("")
	require.NoError(t, err)
	require.Equal(t, Duration(time.Minute), s.Interval)
	require.Equal(t, Duration(24*time.Hour), s.Store.Keep, "a section that is not there has its defaults")
	require.Nil(t, s.Password)
	require.True(t, s.Bucket.IsZero())
}

func TestAnchorsAndMergesMeanWhatYAMLSays(t *testing.T) {
	var s shop
	require.NoError(t, Decode("shop.yml", []byte(`
tables:
  - &base
    name: a
    window: 5m
    columns: &cols [x]
  - <<: *base
    name: b
  - <<: [{window: 7m}, *base]
    columns: *cols
`), &s))
	require.Equal(t, "b", s.Tables[1].Name)
	require.Equal(t, Duration(5*time.Minute), s.Tables[1].Window)
	require.Equal(t, "a", s.Tables[2].Name)
	require.Equal(t, Duration(7*time.Minute), s.Tables[2].Window, "the earlier merge wins")
	require.Equal(t, []string{"x"}, s.Tables[2].Columns)
}

func TestEveryProblemIsNamedWithFileLineAndKey(t *testing.T) {
	for name, tc := range map[string]struct{ in, want string }{
		"an unknown key suggests the known one": {
			"tables:\n  - name: a\n    windw: 5m\n",
			`shop.yml:3: tables[0].windw: unknown key; did you mean "window"?`,
		},
		"an unknown key that is like no other lists all": {
			"store:\n  compression: zstd\n",
			`shop.yml:2: store.compression: unknown key; known here: folder, keep`,
		},
		"a duration without a unit": {
			"interval: 30\n",
			`shop.yml:1: interval: "30"; want a duration such as 30s, 5m, 1h30m or 30d`,
		},
		"a duration in words": {
			"tables:\n- name: a\n- name: b\n- name: c\n  window: 5 minutes\n",
			`shop.yml:5: tables[2].window: "5 minutes"; want a duration such as 30s, 5m, 1h30m or 30d`,
		},
		"an amount of memory without a unit": {
			"memory: 512\n",
			`shop.yml:1: memory: "512"; want a whole number with one of the units B, KiB, MiB, GiB, TiB, kB, MB, GB or TB, such as 512MiB`,
		},
		"an amount of memory past 64 bits": {
			"memory: 99999999TiB\n",
			`shop.yml:1: memory: "99999999TiB"; want a whole number with one of the units B, KiB, MiB, GiB, TiB, kB, MB, GB or TB, such as 512MiB`,
		},
		"an amount of memory of mebibits": {
			"memory: 5Mib\n",
			`shop.yml:1: memory: "5Mib"; want a whole number with one of the units B, KiB, MiB, GiB, TiB, kB, MB, GB or TB, such as 512MiB`,
		},
		"a list where a mapping belongs":     {"store: [a]\n", `shop.yml:1: store: is a list; want a mapping`},
		"a mapping where a list belongs":     {"tables: {a: b}\n", `shop.yml:1: tables: is a mapping; want a list`},
		"text where a number belongs":        {"share: lots\n", `shop.yml:1: share: "lots"; want a number`},
		"a word where true or false belongs": {"verbose: yes please\n", `shop.yml:1: verbose: "yes please"; want true or false`},
		"a number that does not fit":         {"workers: 300\n", `shop.yml:1: workers: "300"; want a whole number, not negative`},
		"a negative number of workers":       {"workers: -1\n", `shop.yml:1: workers: "-1"; want a whole number, not negative`},
		"text where a mapping of text is":    {"labels: x\n", `shop.yml:1: labels: "x"; want a mapping`},
		"a mapping where text belongs":       {"name: {a: b}\n", `shop.yml:1: name: is a mapping; want text`},
		"a mapping where a duration belongs": {"interval: {a: b}\n", `shop.yml:1: interval: is a mapping; want a duration such as 30s, 5m, 1h30m or 30d`},
		"a key without a value":              {"name: a\ntables:\n", `shop.yml:2: tables: has no value; want a list, or leave the key out`},
		"a path without a value":             {"store: {folder: ''}\n", `shop.yml:1: store.folder: is empty; want a path`},
		"a key that is set twice":            {"name: a\nshare: 1\nname: b\n", `shop.yml:3: name: is already set on line 1`},
		"a key that is not text":             {"labels:\n  [a]: b\n", `shop.yml:2: labels: has a key that is not text`},
		"a key that needs quotes":            {"labels: {a.b: [c]}\n", `shop.yml:1: labels["a.b"]: is a list; want text`},
		"a rule of a part":                   {"tables:\n- window: 5m\n", `shop.yml:2: tables[0].name: is required`},
		"a rule of a value with a position":  {"tables:\n- name: a\n  window: 0s\n", `shop.yml:3: tables[0].window: is 0s; want more than 0`},
		"a rule of the whole":                {"name: a\nshare: 1.5\n", `shop.yml:2: share: is 1.5; want a ratio from 0 to 1`},
		"a secret in place is not repeated":  {"password: hunter2\n", `shop.yml:1: password: want {file: PATH} or {env: NAME}; a secret is not written in the config itself`},
		"a secret with two sources":          {"password: {file: a, env: B}\n", `shop.yml:1: password: want {file: PATH} or {env: NAME}; a secret is not written in the config itself`},
		"a secret without a source":          {"password:\n  file:\n", `shop.yml:2: password: want {file: PATH} or {env: NAME}; a secret is not written in the config itself`},
		"a password in a URL is not shown": {
			"share: postgres://me:hunter2@db/x\n",
			`shop.yml:1: share: "postgres://<secret>@db/x"; want a number`,
		},
		"an empty file":          {"", `shop.yml:1: is empty`},
		"only a comment":         {"# later\n", `shop.yml:1: is empty`},
		"an empty document":      {"---\n...\n", `shop.yml:1: is empty`},
		"text instead of keys":   {"hello\n", `shop.yml:1: "hello"; want a mapping`},
		"two documents":          {"name: a\n---\nname: b\n", `shop.yml:2: starts a second document; a config is one document`},
		"broken YAML":            {"name: a\ntables: [\n", `shop.yml:2: is not valid YAML: did not find expected node content`},
		"an anchor that is not":  {"name: *a\n", `shop.yml:1: is not valid YAML: unknown anchor 'a' referenced`},
		"a tab as indentation":   {"store:\n\tfolder: x\n", `shop.yml:2: is not valid YAML: found character that cannot start any token`},
		"bytes that are no text": {"name: a\nx: \x00\x01\n", `shop.yml:2: holds bytes that are not text in UTF-8; is this the right file?`},
		"Latin-1":                {"name: caf\xe9\n", `shop.yml:1: holds bytes that are not text in UTF-8; is this the right file?`},
		"more than 10 MiB":       {strings.Repeat("#", maxSize+1), `shop.yml:1: is larger than 10 MiB; is this the right file?`},
		"a merge of a list":      {"tables:\n- <<: [[1]]\n", `shop.yml:2: tables[0]: << merges a mapping, or a list of mappings`},
		"an alias inside its own anchor": {
			"tables: &a\n- name: x\n  nested: &b {name: y, nested: *b}\n",
			`shop.yml:3: tables[0].nested.nested: the alias *b refers to a value that contains it`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var s shop
			require.EqualError(t, Decode("shop.yml", []byte(tc.in), &s), tc.want)
		})
	}
}

func TestAllProblemsOfAFileAreReportedTogetherInTheOrderOfItsLines(t *testing.T) {
	var s shop
	err := Decode("shop.yml", []byte("intervall: 5m\nshare: x\ntables:\n- nam: a\n- name: b\n  window: 1\n"), &s)
	require.EqualError(t, err, strings.Join([]string{
		`shop.yml:1: intervall: unknown key; did you mean "interval"?`,
		`shop.yml:2: share: "x"; want a number`,
		`shop.yml:4: tables[0].nam: unknown key; did you mean "name"?`,
		`shop.yml:6: tables[1].window: "1"; want a duration such as 30s, 5m, 1h30m or 30d`,
	}, "\n"))
	var all Errors
	require.ErrorAs(t, err, &all)
	require.Equal(t, "tables[1].window", all[3].Key)
	require.Equal(t, 6, all[3].Line)
}

func TestAFileThatIsWrongOnEveryLineHasAShortMessage(t *testing.T) {
	var in strings.Builder
	for i := range 100 {
		fmt.Fprintf(&in, "unknown%d: 1\n", i)
	}
	var s shop
	err := Decode("shop.yml", []byte(in.String()), &s)
	require.Len(t, strings.Split(err.Error(), "\n"), maxListed+1)
	require.ErrorContains(t, err, "… and 80 more problems")
}

func TestBillionLaughsIsRefused(t *testing.T) {
	type tree struct {
		Kids []tree `yaml:"kids"`
	}
	in := "kids:\n- &a0 {kids: []}\n"
	for i := 1; i < 20; i++ {
		in += fmt.Sprintf("- &a%d {kids: [%s]}\n", i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 9), ","))
	}
	var v tree
	err := Decode("laughs.yml", []byte(in), &v)
	require.ErrorContains(t, err, "the document is too large or too deep once aliases are followed")
	require.NotContains(t, err.Error(), "\n", "it is said once")

	merges := "kids:\n- &m0 {kids: []}\n"
	for i := 1; i < 20; i++ {
		merges += fmt.Sprintf("- &m%d {<<: [%s]}\n", i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*m%d,", i-1), 9), ","))
	}
	require.ErrorContains(t, Decode("laughs.yml", []byte(merges), &v), "too large or too deep")

	var raw struct {
		Kids Raw `yaml:"kids"`
	}
	require.ErrorContains(t, Decode("laughs.yml", []byte(in), &raw), "kids: is too large or too deep once aliases are followed")
}

func TestADeepDocumentIsRefused(t *testing.T) {
	var s shop
	deep := "tables:\n- name: x\n  nested: " + strings.Repeat("{name: x, nested: ", 500) + "{name: y}" + strings.Repeat("}", 500) + "\n"
	require.ErrorContains(t, Decode("shop.yml", []byte(deep), &s), "the document is too large or too deep")
}

func TestLoadReadsAFileAndResolvesRelativeToIt(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "shop.yml")
	require.NoError(t, os.WriteFile(path, []byte("store: {folder: ../x, keep: 1w}\npassword: {file: pw}\n"), 0o600))
	s, err := Load[shop](path)
	require.NoError(t, err)
	require.Equal(t, Path(filepath.Join(filepath.Dir(dir), "x")), s.Store.Folder)

	require.NoError(t, os.WriteFile(filepath.Join(dir, "pw"), []byte("one\n"), 0o600))
	secret, err := s.Password.Read()
	require.NoError(t, err)
	require.Equal(t, "one", secret.Reveal())
	require.NoError(t, os.WriteFile(filepath.Join(dir, "pw"), []byte("two\r\n"), 0o600))
	secret, err = s.Password.Read()
	require.NoError(t, err)
	require.Equal(t, "two", secret.Reveal(), "a rotated secret is picked up")

	_, err = Load[shop](filepath.Join(dir, "absent.yml"))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = Load[shop](dir)
	require.ErrorContains(t, err, "read config: ")
	_, err = Load[shop]("/dev/zero")
	require.EqualError(t, err, "/dev/zero:1: is larger than 10 MiB; is this the right file?")
}

func TestAMissingOrEmptySecretIsAnError(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(empty, []byte("\n"), 0o600))
	t.Setenv("SHOP_TOKEN", "")
	for _, tc := range []struct {
		source SecretSource
		want   string
	}{
		{SecretSource{File: "/does/not/exist"}, "read secret: open /does/not/exist: no such file or directory"},
		{SecretSource{File: Path(empty)}, "read secret: " + empty + " is empty"},
		{SecretSource{File: "/dev/zero"}, "read secret: /dev/zero is larger than 1 MiB"},
		{SecretSource{Env: "SHOP_TOKEN"}, "read secret: the environment variable SHOP_TOKEN is not set"},
		{SecretSource{}, "read secret: no source configured"},
	} {
		_, err := tc.source.Read()
		require.EqualError(t, err, tc.want)
	}
	t.Setenv("SHOP_TOKEN", "s3cret")
	secret, err := SecretSource{Env: "SHOP_TOKEN"}.Read()
	require.NoError(t, err)
	require.Equal(t, "s3cret", secret.Reveal())
}

func TestNothingPrintsASecret(t *testing.T) {
	var raw Raw
	require.NoError(t, yaml.Unmarshal([]byte("key: hunter2"), &raw))
	for name, v := range map[string]any{"secret": NewSecret("hunter2"), "raw": raw} {
		var out bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb, v)
			fmt.Fprintf(&out, verb, struct{ V any }{v})
			fmt.Fprintf(&out, verb, []any{v})
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v, "g", slog.GroupValue(slog.Any("v", v)))
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v, "s", struct{ V any }{v})
		j, err := json.Marshal(v)
		require.NoError(t, err, name)
		y, err := yaml.Marshal(map[string]any{"v": v})
		require.NoError(t, err, name)
		out.Write(j)
		out.Write(y)
		require.NotContains(t, out.String(), "hunter2", name)
		require.NotContains(t, out.String(), "68756e74657232", name)
		require.Contains(t, out.String(), "<secret>", name)
	}
}

func TestUnitsAreWrittenAsTheyAreRead(t *testing.T) {
	for _, s := range []string{"0B", "1B", "1023B", "1KiB", "1kB", "1500kB", "512MiB", "1GiB", "3TiB", "7GB"} {
		var b Bytes
		require.NoError(t, b.UnmarshalText([]byte(s)))
		var again Bytes
		require.NoError(t, again.UnmarshalText([]byte(b.String())))
		require.Equal(t, b, again, s)
	}
	require.Equal(t, "512MiB", Bytes(512<<20).String())
	text, err := Duration(90 * time.Minute).MarshalText()
	require.NoError(t, err)
	require.Equal(t, "1h30m", string(text))
}

func TestDecodeRefusesWhatIsNotAPointer(t *testing.T) {
	require.EqualError(t, Decode("x.yml", []byte("a: b"), shop{}), "config: decode into config.shop; want a non-nil pointer")
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"name: a\ntables: [{name: x, window: 5m, limits: {a: 1}}]\n", "a: &a [*a]", "<<: &m {<<: *m}", "tables: *x",
		"password: {file: x}", "bucket: &b {c: *b}", "? [a]\n: b", "!!binary x", "labels: {<<: [1, {a: b}]}", "%YAML 1.1\n---\na",
		"memory: 1GiB\ninterval: 1d\nshare: .inf\nworkers: 0x10", "name: !!null x", "- - - -", "\"\\ud800\"",
		"a: |+2\n  x\n", "&a *a", "{<<: *a, &a b: c}", "tables: &t [{<<: &u {name: a}, nested: *u}]", "tables: [{nested: {<<: {nested: ~}}}]",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var s shop
		err := Decode("fuzz.yml", data, &s)
		if err == nil {
			return
		}
		var all Errors
		require.ErrorAs(t, err, &all)
		for _, e := range all {
			require.Positive(t, e.Line, e.Error())
			require.NotEmpty(t, e.Problem)
			require.LessOrEqual(t, e.Line, len(data)+2, e.Error())
		}
	})
}

// lookup records what At says about its place.
type lookup struct {
	A, B string
	List []string
	got  []any
}

func (l *lookup) Validate(at At) {
	l.got = []any{at.Has("a"), at.Has("b"), at.Line("a"), at.Line("b"), at.Line("list[1]"), at.Line("list[9]"), at.Line("list[0].deep"), at.Line("")}
}

func TestAtFindsTheLineOfAKey(t *testing.T) {
	var v struct{ Inner lookup }
	require.NoError(t, Decode("x.yml", []byte("inner:\n  a: x\n  list:\n  - x\n  - y\n"), &v))
	require.Equal(t, []any{true, false, 2, 2, 5, 3, 4, 2}, v.Inner.got, "what is not there stands where the thing around it does")
}

func TestPositionFormatsErrors(t *testing.T) {
	p := Pos{File: "x.yml", Line: 7, Key: "tables[1]"}
	require.EqualError(t, p.Errorf("the table has no column %q", "id"), `x.yml:7: tables[1]: the table has no column "id"`)
}
