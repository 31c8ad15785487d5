package slack

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
)

// apiMethods are the methods of Slack's Web API that the sink supports. Names of fields and errors are those of its
// documentation.
var apiMethods = []string{"auth.test", "chat.postMessage", "chat.update"}

// apiMethod returns the method at the end of a path.
func apiMethod(r *http.Request) (string, bool) {
	method := path.Base(r.URL.Path)
	return method, slices.Contains(apiMethods, method)
}

// apiAnswer is the response of every method.
type apiAnswer struct {
	OK      bool   `json:"ok"`
	Error   string `json:"error,omitempty"`
	Channel string `json:"channel,omitempty"`
	TS      string `json:"ts,omitempty"`
}

// apiChannel is the ID of every channel: posts use the channel's name, responses and updates its ID.
const apiChannel = "C0SIGHTGLASS"

// serveAPI answers with status 200 and JSON, for errors too, as the Web API does.
func (s *Sink) serveAPI(w http.ResponseWriter, r *http.Request, method string) {
	answer := s.callAPI(w, r, method)
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(answer)
}

func (s *Sink) callAPI(w http.ResponseWriter, r *http.Request, method string) apiAnswer {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); !ok || token == "" {
		return apiAnswer{Error: "not_authed"}
	}
	if method == "auth.test" {
		return apiAnswer{OK: true}
	}
	m, err := read(w, r)
	if err == nil {
		err = s.locate(&m, method)
	}
	s.record(m, err)
	if refused := (*Error)(nil); errors.As(err, &refused) {
		return apiAnswer{Error: refused.Code}
	}
	return apiAnswer{OK: true, Channel: apiChannel, TS: m.TS}
}

// locate assigns the timestamp of a new message, or finds the message to update.
func (s *Sink) locate(m *Message, method string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case m.Channel == "":
		return &Error{"channel_not_found", "no channel"}
	case method == "chat.postMessage":
		s.posted++
		m.TS = fmt.Sprintf("%d.%06d", s.now().Unix(), s.posted)
		return nil
	case m.Channel != apiChannel:
		return &Error{"channel_not_found", "an update names the channel by the ID that the post was answered with, not " + m.Channel}
	}
	i := slices.IndexFunc(s.messages, func(o Message) bool { return o.TS == m.TS && m.TS != "" })
	if i < 0 {
		return &Error{"message_not_found", "no message has the ts " + m.TS}
	}
	m.Updates, m.Channel = s.messages[i].Updates+1, s.messages[i].Channel
	return nil
}
