package slack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// maxBody is far above what a message within Slack's limits needs, and small enough for a hostile sender.
const maxBody = 1 << 20

// Sink is an incoming webhook, and the part of the Web API that posts and changes messages. It keeps the last messages it accepted. It is safe for concurrent use.
type Sink struct {
	capacity int
	now      func() time.Time

	mu        sync.Mutex
	messages  []Message // The oldest first, at most capacity of them.
	accepted  int
	posted    int           // through the Web API
	rejection error         // The last one.
	changed   chan struct{} // Closed and replaced at each request.
}

var _ http.Handler = (*Sink)(nil)

// NewSink returns a sink that keeps the last capacity messages.
func NewSink(capacity int) (*Sink, error) {
	if capacity < 1 {
		return nil, fmt.Errorf("a sink must keep at least one message, not %d", capacity)
	}
	return &Sink{capacity: capacity, now: time.Now, changed: make(chan struct{})}, nil
}

// ServeHTTP answers as Slack does: a webhook "ok", or an error word with status 400; the Web API in JSON (see api.go).
func (s *Sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "method_not_allowed", http.StatusMethodNotAllowed)
		return
	}
	if method, ok := apiMethod(r); ok {
		s.serveAPI(w, r, method)
		return
	}
	m, err := read(w, r)
	m.TS = ""
	s.record(m, err)
	if slackErr := (*Error)(nil); errors.As(err, &slackErr) {
		http.Error(w, slackErr.Code, http.StatusBadRequest)
		return
	}
	// Alertmanager takes nothing but these two bytes for a success, so no newline may follow.
	_, _ = io.WriteString(w, "ok")
}

func read(w http.ResponseWriter, r *http.Request) (Message, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return Message{}, &Error{"invalid_payload", err.Error()}
	}
	m, err := Parse(body)
	m.Path = r.URL.Path
	return m, err
}

func (s *Sink) record(m Message, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.rejection = err
	} else {
		s.accepted++
		m.Seq, m.Received = s.accepted, s.now()
		if m.TS != "" { // Of an update: the message moves to the end.
			s.messages = slices.DeleteFunc(s.messages, func(o Message) bool { return o.TS == m.TS })
		}
		if len(s.messages) == s.capacity {
			s.messages = slices.Delete(s.messages, 0, 1)
		}
		s.messages = append(s.messages, m)
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// Messages returns the messages still kept, the oldest first.
func (s *Sink) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// LastRejection returns why the last refused request was refused, or nil if none was.
func (s *Sink) LastRejection() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rejection
}

// Wait returns the oldest kept message that matches, waiting for one until ctx ends. Its error names the
// last rejection: a message that Slack refuses is the usual reason why none arrives.
func (s *Sink) Wait(ctx context.Context, match func(Message) bool) (Message, error) {
	for {
		s.mu.Lock()
		messages, changed, rejection := slices.Clone(s.messages), s.changed, s.rejection
		s.mu.Unlock()
		if i := slices.IndexFunc(messages, match); i >= 0 {
			return messages[i], nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			err := fmt.Errorf("no matching Slack message among %d: %w", len(messages), context.Cause(ctx))
			if rejection != nil {
				err = fmt.Errorf("%w (last rejected: %w)", err, rejection)
			}
			return Message{}, err
		}
	}
}
