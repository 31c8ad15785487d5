package action

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// KeyHeader is the header with the idempotency key in every request that starts something.
const KeyHeader = "Idempotency-Key"

// maxAnswer bounds the response of a target. GitHub's list of a hundred runs is about 1 MiB.
const maxAnswer = 8 << 20

// Phase is the phase of a target's run.
type Phase string

// The phases of a run.
const (
	Running   Phase = "running"
	Succeeded Phase = "succeeded"
	Failed    Phase = "failed"
)

// target is the client of one HTTP service. Presets configure it: see presets.go.
type target struct {
	client *http.Client
	start  request
	// exists are response codes that mean "this key exists already".
	exists []int
	// id is the path of the run's ID in the response. knownID is the ID if it is derived from the key.
	id      string
	knownID func(Params) string
	// find finds a run by the key, for targets that return no ID or would start a second run for the same key.
	find *finder
	// status reads the state of a run. Without it, a started run counts as succeeded.
	status *poller
}

type request struct {
	url  string
	body tree
}

type finder struct {
	url  func(p Params, created time.Time) string
	list string // path of the list in the response; it may be absent
	// match reports whether an element is the run
	match func(element any, p Params) bool
	id    string
}

type poller struct {
	url string // with {id}, which is escaped
	// fields are tried in order; the first with a value is the state
	fields            []string
	succeeded, failed []string
}

// permanentError is a refusal that a retry cannot change.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// laterError has the time after which the target accepts a retry.
type laterError struct {
	error
	after time.Duration
}

func (e laterError) Unwrap() error { return e.error }

// Start starts the run and returns its ID, or "" if only find can determine it.
func (t *target) Start(ctx context.Context, p Params) (string, error) {
	body, err := t.start.body.fill(p)
	if err != nil {
		return "", permanentError{fmt.Errorf("make the request: %w", err)}
	}
	status, answer, err := t.call(ctx, http.MethodPost, t.start.url, body, p.Key)
	switch {
	case err != nil && slices.Contains(t.exists, status):
		return t.knownID(p), nil
	case err != nil:
		return "", err
	case t.knownID != nil:
		return t.knownID(p), nil
	case t.id == "":
		return "", nil
	}
	id, err := decodeField(answer, t.id)
	if err != nil && t.find != nil && (len(bytes.TrimSpace(answer)) == 0 || errors.Is(err, errNoValue)) {
		return "", nil
	}
	return id, err
}

// Find returns the ID of the run with the key of p. found is false if there is none yet.
func (t *target) Find(ctx context.Context, p Params, created time.Time) (id string, found bool, err error) {
	_, answer, err := t.call(ctx, http.MethodGet, t.find.url(p, created), nil, "")
	if err != nil {
		return "", false, err
	}
	value, err := decode(answer)
	if err != nil {
		return "", false, err
	}
	object, _ := value.(map[string]any)
	elements, _ := object[t.find.list].([]any)
	for _, element := range elements {
		if t.find.match(element, p) {
			id, err := lookup(element, t.find.id)
			return id, err == nil, err
		}
	}
	return "", false, nil
}

// Status returns the phase of a run, and the target's own name for its state.
func (t *target) Status(ctx context.Context, id string) (Phase, string, error) {
	_, answer, err := t.call(ctx, http.MethodGet, strings.ReplaceAll(t.status.url, "{id}", pathEscape(id)), nil, "")
	if err != nil {
		return "", "", err
	}
	value, err := decode(answer)
	if err != nil {
		return "", "", err
	}
	var word string
	for _, field := range t.status.fields {
		if word, err = lookup(value, field); err == nil && word != "" {
			break
		}
	}
	switch {
	case slices.Contains(t.status.succeeded, word):
		return Succeeded, word, nil
	case slices.Contains(t.status.failed, word):
		return Failed, word, nil
	case word == "" && err != nil && !errors.Is(err, errNoValue):
		return "", "", err
	}
	return Running, word, nil
}

// call makes one request. It returns the status, and an error for any response other than 2xx.
func (t *target) call(ctx context.Context, method, address string, body []byte, key string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return 0, nil, permanentError{err}
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "sightglass-responder")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set(KeyHeader, key)
	}
	res, err := t.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err == nil && len(answer) > maxAnswer {
		err = fmt.Errorf("the answer is larger than %d MiB", maxAnswer>>20)
	}
	if err != nil {
		return 0, nil, fmt.Errorf("%s %s: read the answer: %w", method, address, err)
	}
	if res.StatusCode/100 == 2 {
		return res.StatusCode, answer, nil
	}
	err = fmt.Errorf("%s %s: %s%s", method, address, res.Status, excerpt(answer))
	switch res.StatusCode {
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusGone, http.StatusRequestEntityTooLarge,
		http.StatusRequestURITooLong, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		// 401, 403 and 404 are not permanent: tokens are rotated, and pipelines are redeployed.
		err = permanentError{err}
	default:
		if seconds, atoiErr := strconv.Atoi(res.Header.Get("Retry-After")); atoiErr == nil && seconds > 0 {
			err = laterError{err, min(time.Duration(seconds)*time.Second, time.Hour)}
		}
	}
	return res.StatusCode, answer, err
}

// excerpt returns the beginning of a response as one line, for a message.
func excerpt(answer []byte) string {
	const most = 200
	text := strings.Join(strings.Fields(strings.ToValidUTF8(string(answer[:min(len(answer), 4*most)]), "\uFFFD")), " ")
	if text == "" {
		return ""
	}
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "…"
	}
	return fmt.Sprintf(": %q", text)
}

func decode(answer []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(answer))
	dec.UseNumber()
	var value any
	if err := dec.Decode(&value); err != nil {
		return nil, fmt.Errorf("the answer is no JSON: %w%s", err, excerpt(answer))
	}
	return value, nil
}

// decodeField returns an ID from a response. It must be safe to store and to use in a URL.
func decodeField(answer []byte, path string) (string, error) {
	value, err := decode(answer)
	if err != nil {
		return "", err
	}
	id, err := lookup(value, path)
	if err == nil && (id == "" || len(id) > 512) {
		err = fmt.Errorf("%s: has %d bytes in the answer; want 1 to 512", path, len(id))
	}
	return id, err
}
