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

// maxBody bounds a request. It is far above the size of a message within Slack's limits.
const maxBody = 1 << 20

// Sink is an incoming webhook, and the methods of the Web API that post and update messages. It keeps the last accepted
// messages. It is safe for concurrent use.
type Sink struct {
	capacity int
	now      func() time.Time

	mu        sync.Mutex
	messages  []Message // oldest first, at most capacity
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

// ServeHTTP answers as Slack does: a webhook gets "ok", or an error code with status 400; the Web API gets JSON (see api.go).
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
	// Alertmanager accepts only these two bytes as success, so no newline may follow.
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
		if m.TS != "" { // An updated message moves to the end.
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

// Messages returns the kept messages, oldest first.
func (s *Sink) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// LastRejection returns the reason of the last rejected request, or nil.
func (s *Sink) LastRejection() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rejection
}

// Wait returns the oldest kept message that matches. It waits for one until ctx ends. Its error includes the last rejection,
// which is the most frequent reason why no message arrives.
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
