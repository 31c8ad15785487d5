package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // Containers often have no time zone database.

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// Duration is a duration in Prometheus's syntax: 30s, 5m, 1h30m, 30d.
type Duration time.Duration

// Shorthand is implemented by structs that may be written as a single value, which is then the value of the returned key.
type Shorthand interface{ Shorthand() (key string) }

// Want returns the expected form, for messages.
func (Duration) Want() string { return "a duration such as 30s, 5m, 1h30m or 30d" }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := model.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%s; want %s", quote(string(text)), d.Want())
	}
	*d = Duration(parsed)
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

func (d Duration) String() string { return model.Duration(d).String() }

// Bytes is an amount of memory or storage. The unit is required, because 512 could mean bytes or megabytes.
type Bytes int64

// byteUnits is sorted so that String selects the largest unit that is exact.
var byteUnits = []struct {
	name string
	size int64
}{
	{"TiB", 1 << 40},
	{"TB", 1e12},
	{"GiB", 1 << 30},
	{"GB", 1e9},
	{"MiB", 1 << 20},
	{"MB", 1e6},
	{"KiB", 1 << 10},
	{"kB", 1e3},
	{"B", 1},
}

// Want returns the expected form, for messages.
func (Bytes) Want() string {
	return "a whole number with one of the units B, KiB, MiB, GiB, TiB, kB, MB, GB or TB, such as 512MiB"
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *Bytes) UnmarshalText(text []byte) error {
	s := string(text)
	digits := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	n, err := strconv.ParseInt(digits, 10, 64)
	for _, u := range byteUnits {
		if err == nil && n >= 0 && s[len(digits):] == u.name && n <= math.MaxInt64/u.size {
			*b = Bytes(n * u.size)
			return nil
		}
	}
	return fmt.Errorf("%s; want %s", quote(s), b.Want())
}

// MarshalText implements encoding.TextMarshaler.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

func (b Bytes) String() string {
	if b == 0 {
		return "0B"
	}
	for _, u := range byteUnits[:len(byteUnits)-1] {
		if int64(b)%u.size == 0 {
			return fmt.Sprintf("%d%s", int64(b)/u.size, u.name)
		}
	}
	return fmt.Sprintf("%dB", int64(b))
}

// TimeZone is the name of a time zone, such as America/Toronto; UTC if empty.
type TimeZone string

// timeZoneVariable is the environment variable with the default time zone.
const timeZoneVariable = "SIGHTGLASS_TIME_ZONE"

// TimeZone returns the time zone to use if the file has none under key: that of the environment variable SIGHTGLASS_TIME_ZONE, or else
// otherwise.
func (a At) TimeZone(key string, otherwise TimeZone) TimeZone {
	text := os.Getenv(timeZoneVariable)
	if text == "" {
		return otherwise
	}
	var zone TimeZone
	if err := zone.UnmarshalText([]byte(text)); err != nil {
		a.Errorf(key, "is not set, and the environment variable %s is %v", timeZoneVariable, err)
		return otherwise
	}
	return zone
}

// Want returns the expected form, for messages.
func (TimeZone) Want() string {
	return "the name of a time zone, such as America/Toronto or UTC"
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (z *TimeZone) UnmarshalText(text []byte) error {
	// "Local" is the zone of the machine, so replicas could differ.
	if _, err := time.LoadLocation(string(text)); err != nil || string(text) == "Local" {
		return fmt.Errorf("%s; want %s", quote(string(text)), z.Want())
	}
	*z = TimeZone(text)
	return nil
}

// Location returns the time zone. It returns UTC for a zone that does not exist, which is possible only if it was not read from a file.
func (z TimeZone) Location() *time.Location {
	if location, err := time.LoadLocation(string(z)); err == nil {
		return location
	}
	return time.UTC
}

// Path is the name of a file or folder. In the configuration file it is relative to that file; Validate resolves it.
type Path string

// Validate implements Validator.
func (p *Path) Validate(at At) {
	if *p == "" {
		at.Errorf("", "is empty; want a path")
	}
	*p = Path(at.Resolve(string(*p)))
}

const secretText = "<secret>"

// Secret is text that must not be printed, logged or marshalled. Only Reveal returns it.
type Secret struct{ text string }

// NewSecret wraps text.
func NewSecret(text string) Secret { return Secret{text} }

// Reveal returns the text.
func (s Secret) Reveal() string { return s.text }

func (Secret) String() string { return secretText }

// Format implements fmt.Formatter. It covers every verb, %#v and %x too.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, secretText) }

// MarshalText implements encoding.TextMarshaler, which JSON and YAML use too.
func (Secret) MarshalText() ([]byte, error) { return []byte(secretText), nil }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(secretText) }

// SecretSource is the source of a secret: {file: path} or {env: NAME}. Configuration files are committed and shared, so they never
// contain a secret itself.
type SecretSource struct {
	File Path   `yaml:"file,omitempty"`
	Env  string `yaml:"env,omitempty"`
}

// Want returns the expected form, for messages.
func (SecretSource) Want() string { return "{file: PATH} or {env: NAME}" }

// UnmarshalYAML implements yaml.Unmarshaler. Its error must not repeat a secret that is written in the file.
func (s *SecretSource) UnmarshalYAML(n *yaml.Node) error {
	*s = SecretSource{}
	if n.Kind == yaml.MappingNode && len(n.Content) == 2 && n.Content[1].Kind == yaml.ScalarNode && n.Content[1].Value != "" {
		switch n.Content[0].Value {
		case "file":
			s.File = Path(n.Content[1].Value)
			return nil
		case "env":
			s.Env = n.Content[1].Value
			return nil
		}
	}
	return fmt.Errorf("want %s; a secret is not written in the config itself", s.Want())
}

// Validate implements Validator.
func (s *SecretSource) Validate(at At) {
	s.File = Path(at.Resolve(string(s.File)))
	if s.File != "" {
		at.CheckFile("file", string(s.File))
	}
	if s.Env != "" && os.Getenv(s.Env) == "" {
		at.Laterf("env", "%s is not set here; set the environment variable for the process, or use {file: PATH}", s.Env)
	}
}

// maxSecret is far longer than any key or token.
const maxSecret = 1 << 20

// Read returns the current secret, so that a rotated secret takes effect at the next use. One newline at the end of a file is removed.
func (s SecretSource) Read() (Secret, error) {
	var text string
	switch {
	case s.File != "":
		f, err := os.Open(string(s.File))
		if err != nil {
			return Secret{}, fmt.Errorf("read secret: %w", err)
		}
		defer f.Close()
		data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
		if err != nil {
			return Secret{}, fmt.Errorf("read secret: %w", err)
		}
		if len(data) > maxSecret {
			return Secret{}, fmt.Errorf("read secret: %s is larger than 1 MiB", s.File)
		}
		text = string(bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r")))
		if text == "" {
			return Secret{}, fmt.Errorf("read secret: %s is empty", s.File)
		}
	case s.Env != "":
		if text = os.Getenv(s.Env); text == "" {
			return Secret{}, fmt.Errorf("read secret: the environment variable %s is not set", s.Env)
		}
	default:
		return Secret{}, errors.New("read secret: no source configured")
	}
	return Secret{text}, nil
}

// Raw is a section of the document that another library decodes, such as the configuration of an object store. It may contain secrets,
// so it prints as one.
type Raw struct{ text []byte }

// Want returns the expected form, for messages.
func (Raw) Want() string { return "a mapping" }

// UnmarshalYAML implements yaml.Unmarshaler.
func (r *Raw) UnmarshalYAML(n *yaml.Node) error {
	budget := maxNodes
	plain, err := expand(n, &budget, 0)
	if err != nil {
		return err
	}
	if r.text, err = yaml.Marshal(plain); err != nil {
		return fmt.Errorf("is not valid YAML: %w", err)
	}
	return nil
}

// expand copies n with its aliases resolved, so that the copy needs no anchors.
func expand(n *yaml.Node, budget *int, depth int) (*yaml.Node, error) {
	if *budget--; *budget < 0 || depth > maxDepth {
		return nil, errors.New("is too large or too deep once aliases are followed")
	}
	if n.Kind == yaml.AliasNode {
		return expand(n.Alias, budget, depth+1)
	}
	out := *n
	out.Anchor, out.Content = "", make([]*yaml.Node, len(n.Content))
	for i, child := range n.Content {
		var err error
		if out.Content[i], err = expand(child, budget, depth+1); err != nil {
			return nil, err
		}
	}
	return &out, nil
}

// YAML returns the section as a separate document.
func (r Raw) YAML() []byte { return r.text }

// IsZero reports whether the document does not contain the section.
func (r Raw) IsZero() bool { return len(r.text) == 0 }

func (Raw) String() string { return secretText }

// Format implements fmt.Formatter.
func (Raw) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, secretText) }

// MarshalText implements encoding.TextMarshaler.
func (Raw) MarshalText() ([]byte, error) { return []byte(secretText), nil }

// LogValue implements slog.LogValuer.
func (Raw) LogValue() slog.Value { return slog.StringValue(secretText) }
