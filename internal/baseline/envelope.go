package baseline

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

const (
	format        = "sightglass-baseline"
	formatVersion = 2
	// magic is the beginning of every object, because the encoder writes the format first. It distinguishes a damaged object from a
	// foreign one.
	magic = `{"format":"` + format + `",`
	// maxObjectBytes limits the memory for reading a hostile or foreign file.
	maxObjectBytes = 64 << 20
)

// versionOf returns the format version of a kind of object. It is the first version that has all its fields, so that an earlier program
// can still read the days of a store.
func versionOf(kind string) int {
	switch kind {
	case kindDefinition, kindOutline, kindRefined, kindAccepted:
		return 2
	}
	return 1
}

// ErrNotFound means that nothing has been stored yet.
var ErrNotFound = errors.New("not in the store")

// Reasons to refuse an object. An *ObjectError wraps one of them.
var (
	ErrCorrupt = errors.New("damaged")
	ErrForeign = errors.New("foreign")
	ErrNewer   = errors.New("newer")
)

// ObjectError is the reason why an object of the store was refused. The object itself is never changed.
type ObjectError struct {
	// Object is the path of the object in the store.
	Object string
	// Reason is what was expected and what was found.
	Reason string
	// Err is ErrCorrupt, ErrForeign or ErrNewer.
	Err error
}

func (e *ObjectError) Error() string {
	switch {
	case errors.Is(e.Err, ErrNewer):
		return fmt.Sprintf("%s was written by a newer version: %s; upgrade this program", e.Object, e.Reason)
	case errors.Is(e.Err, ErrForeign):
		return fmt.Sprintf("%s does not belong here: %s; it was left as it is: move it away, or start anew with 'sightglass baseline reset'", e.Object, e.Reason)
	}
	return fmt.Sprintf("%s is damaged: %s; it was left as it is: restore it from a backup, or start anew with 'sightglass baseline reset'", e.Object, e.Reason)
}

func (e *ObjectError) Unwrap() error { return e.Err }

// header is the metadata that an envelope has about its payload.
type header struct {
	Kind    string
	Subject string
	Stem    string
	Created time.Time
	// Sum is the checksum of the complete object with an empty checksum field.
	Sum string
}

// envelope is the JSON of an object. The order of its fields is part of the format.
type envelope struct {
	Format  string          `json:"format"`
	Version int             `json:"version"`
	Kind    string          `json:"kind"`
	Subject string          `json:"subject"`
	Object  string          `json:"object"`
	Created time.Time       `json:"created"`
	SHA256  string          `json:"sha256"`
	Payload json.RawMessage `json:"payload"`
}

// encode returns an object. The same header and payload give the same bytes.
func encode(h header, payload any) ([]byte, error) {
	raw, err := marshal(payload)
	if err != nil {
		return nil, err
	}
	return encodeJSON(h, bytes.TrimSpace(raw))
}

// encodeJSON returns an object whose payload is JSON as written by marshal. The payload is copied into the envelope, because
// encoding/json would parse all of it again.
func encodeJSON(h header, raw []byte) ([]byte, error) {
	e := envelope{
		Format: format, Version: versionOf(h.Kind),
		Kind: h.Kind, Subject: h.Subject, Object: h.Stem, Created: h.Created.UTC(),
	}
	empty, err := marshal(e)
	if err != nil {
		return nil, err
	}
	before, ok := bytes.CutSuffix(empty, []byte("null}\n"))
	if !ok {
		return nil, errors.New("the JSON of an envelope does not end in its payload")
	}
	data, err := e.sign(slices.Concat(before, raw, []byte("}\n")))
	if err != nil {
		return nil, err
	}
	if len(data) > maxObjectBytes {
		return nil, fmt.Errorf("%d bytes are too many, at most %d can be read back", len(data), maxObjectBytes)
	}
	return data, nil
}

// seal sets the checksum and returns the bytes of the envelope.
func (e *envelope) seal() ([]byte, error) {
	e.SHA256 = ""
	data, err := marshal(e)
	if err != nil {
		return nil, err
	}
	return e.sign(data)
}

// sign inserts the checksum into the bytes of an envelope without one.
func (e *envelope) sign(data []byte) ([]byte, error) {
	sum := sha256.Sum256(data)
	e.SHA256 = hex.EncodeToString(sum[:])
	// A quotation mark within a string is escaped, so the first match is the field itself, before the payload.
	before, after, ok := bytes.Cut(data, []byte(`"sha256":""`))
	if !ok {
		return nil, errors.New("the JSON of an envelope has no place for the checksum")
	}
	return slices.Concat(before, []byte(`"sha256":"`+e.SHA256+`"`), after), nil
}

// marshal is json.Marshal without HTML escapes, which keeps bins such as "(5,12.5]" or "<5" readable, and with a newline at the end.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return b.Bytes(), err
}

// decode reads the object at path and fills payload. The object's header must match want. Created and Sum of the result are the
// object's.
func decode(path string, data []byte, want header, payload any) (header, error) {
	refuse := func(err error, reason string, args ...any) (header, error) {
		return header{}, &ObjectError{Object: path, Reason: fmt.Sprintf(reason, args...), Err: err}
	}
	switch {
	case len(data) == 0:
		return refuse(ErrCorrupt, "it is empty")
	case len(data) > maxObjectBytes:
		return refuse(ErrCorrupt, "it is longer than %d bytes", maxObjectBytes)
	case !bytes.HasPrefix(data, []byte(magic)):
		return refuse(ErrForeign, "it begins with %q, expected %q", data[:min(len(data), len(magic))], magic)
	}

	// A newer version may have other fields, so its number is checked first.
	var version struct{ Version int }
	if err := json.Unmarshal(data, &version); err != nil {
		return refuse(ErrCorrupt, "it is not the JSON that was written (%d bytes: %v)", len(data), err)
	}
	if version.Version > formatVersion {
		return refuse(ErrNewer, "its format has version %d, this program reads %d", version.Version, formatVersion)
	}

	var e envelope
	if err := strictUnmarshal(data, &e); err != nil {
		return refuse(ErrCorrupt, "%v", err)
	}
	sum := e.SHA256
	// Any change, even of a digit or a space, makes the bytes differ from those that the encoder writes.
	switch sealed, err := e.seal(); {
	case err != nil:
		return refuse(ErrCorrupt, "%v", err)
	case e.SHA256 != sum:
		return refuse(ErrCorrupt, "its content has the checksum %q, expected %.64q", e.SHA256, sum)
	case !bytes.Equal(sealed, data):
		return refuse(ErrCorrupt, "its content has the right checksum, but is not written as this program writes it")
	}
	for _, f := range []struct{ name, found, want string }{
		{"subject", e.Subject, want.Subject},
		{"object", e.Object, want.Stem},
		{"kind", e.Kind, want.Kind},
	} {
		if f.found != f.want {
			return refuse(ErrForeign, "its %s is %q, expected %q", f.name, f.found, f.want)
		}
	}
	if err := readPayload(e.Payload, payload); err != nil {
		return refuse(ErrCorrupt, "its payload %v", err)
	}
	want.Created, want.Sum = e.Created, e.SHA256
	return want, nil
}

func readPayload(raw json.RawMessage, payload any) error {
	if err := strictUnmarshal(raw, payload); err != nil {
		return fmt.Errorf("cannot be read: %w", err)
	}
	if v, ok := payload.(interface{ validate() error }); ok {
		if err := v.validate(); err != nil {
			return fmt.Errorf("is not valid: %w", err)
		}
	}
	return nil
}

// strictUnmarshal refuses unknown fields. Otherwise an object of a writer that added a field without a new format version would be read
// only in part.
func strictUnmarshal(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON")
	}
	return nil
}

// peekSubject returns the subject that an object claims, without checking it.
func peekSubject(data []byte) string {
	var e struct{ Subject string }
	if json.Unmarshal(data, &e) != nil {
		return ""
	}
	return e.Subject
}
