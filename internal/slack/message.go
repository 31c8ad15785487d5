// Package slack stands in for Slack where there is none: on a developer's machine, in the demo and in
// tests. Input: the requests Alertmanager sends to an incoming webhook. Output:
// Slack's answers, the accepted messages, and their text for a terminal. The Sink owns the messages it
// accepted and keeps the last few of them only.
//
// Limits and error words are those of Slack's documentation of incoming webhooks and of message
// attachments, so that a template which passes here is one that Slack takes.
package slack

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

// Slack's limits, in characters where a text is meant.
const (
	maxMessageText    = 40_000 // "text" of a message.
	maxAttachments    = 100    // Beyond them Slack answers too_many_attachments.
	maxAttachmentText = 3_000  // The limit of a text section, to which attachments are converted.
	maxTitle          = 1_024  // Alertmanager cuts titles there too.
	maxActions        = 5      // Buttons of one attachment.
	maxActionText     = 75     // Label of a button.
	maxURL            = 3_000  // URL of a button.
)

// Message is one message posted to an incoming webhook.
type Message struct {
	// Seq counts the messages a Sink accepted, from 1; a caller that wants the next message of a kind asks
	// for one with a greater Seq than the last.
	Seq int `json:"-"`
	// Received is when the Sink accepted the message.
	Received time.Time `json:"-"`
	// Path is the path of the webhook's URL. With a webhook for each channel it tells them apart.
	Path string `json:"-"`
	// TS names a message that was posted through the Web API, and Updates is how often it was changed since.
	TS      string `json:"ts"`
	Updates int    `json:"-"`

	Channel     string       `json:"channel"`
	Username    string       `json:"username"`
	Text        string       `json:"text"`
	Attachments []Attachment `json:"attachments"`
}

// Attachment is a block of a message with a coloured bar at its left.
type Attachment struct {
	Title     string   `json:"title"`
	TitleLink string   `json:"title_link"`
	Pretext   string   `json:"pretext"`
	Text      string   `json:"text"`
	Fallback  string   `json:"fallback"`
	Color     string   `json:"color"`
	Footer    string   `json:"footer"`
	Fields    []Field  `json:"fields"`
	Actions   []Action `json:"actions"`
	MrkdwnIn  []string `json:"mrkdwn_in"`
}

// Field is a cell of the table below an attachment's text.
type Field struct {
	Title string `json:"title"`
	Value string `json:"value"`
	Short bool   `json:"short"`
}

// Action is a button. Without an app behind the webhook only buttons with a URL do anything.
type Action struct {
	Type  string `json:"type"`
	Text  string `json:"text"`
	URL   string `json:"url"`
	Style string `json:"style"`
	Name  string `json:"name"`
}

// An Error is a refusal in Slack's words: Code is the body of its answer, Detail what it does not tell.
type Error struct {
	Code   string
	Detail string
}

// Error implements error.
func (e *Error) Error() string { return e.Code + ": " + e.Detail }

// Parse reads the body of a webhook request and checks it as Slack would. Every error is an *Error.
func Parse(body []byte) (Message, error) {
	var m Message
	if err := json.Unmarshal(body, &m); err != nil {
		return Message{}, &Error{"invalid_payload", err.Error()}
	}
	if err := m.check(); err != nil {
		return Message{}, err
	}
	return m, nil
}

func (m Message) check() error {
	if len(m.Attachments) > maxAttachments {
		return &Error{"too_many_attachments", fmt.Sprintf("%d attachments, at most %d", len(m.Attachments), maxAttachments)}
	}
	if err := checkLength("text", m.Text, maxMessageText); err != nil {
		return &Error{"msg_too_long", err.Error()}
	}
	empty := m.Text == ""
	for i, a := range m.Attachments {
		if err := a.check(); err != nil {
			return &Error{"invalid_attachments", fmt.Sprintf("attachment %d: %s", i, err)}
		}
		empty = empty && a.Title == "" && a.Pretext == "" && a.Text == "" && len(a.Fields) == 0
	}
	if empty {
		return &Error{"no_text", "neither a text nor an attachment with something to show"}
	}
	return nil
}

func (a Attachment) check() error {
	for _, err := range []error{
		checkLength("title", a.Title, maxTitle),
		checkLength("pretext", a.Pretext, maxAttachmentText),
		checkLength("text", a.Text, maxAttachmentText),
		checkLength("fallback", a.Fallback, maxAttachmentText),
		checkURL("title_link", a.TitleLink),
	} {
		if err != nil {
			return err
		}
	}
	if len(a.Actions) > maxActions {
		return fmt.Errorf("%d actions, at most %d", len(a.Actions), maxActions)
	}
	for i, action := range a.Actions {
		if err := action.check(); err != nil {
			return fmt.Errorf("action %d: %w", i, err)
		}
	}
	return nil
}

func (a Action) check() error {
	switch a.Type {
	case "button", "select":
	case "":
		return errors.New("type is missing")
	default:
		return fmt.Errorf("type %q is unknown", a.Type)
	}
	if a.Text == "" {
		return errors.New("text is missing")
	}
	if err := checkLength("text", a.Text, maxActionText); err != nil {
		return err
	}
	return checkURL("url", a.URL)
}

func checkLength(name, s string, limit int) error {
	if n := utf8.RuneCountInString(s); n > limit {
		return fmt.Errorf("%s has %d characters, at most %d", name, n, limit)
	}
	return nil
}

// checkURL accepts an empty URL: Slack does not refuse a button or a title without one.
func checkURL(name, s string) error {
	if s == "" {
		return nil
	}
	if err := checkLength(name, s, maxURL); err != nil {
		return err
	}
	u, err := url.Parse(s)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("%s %q is neither http nor https", name, s)
	}
	if strings.ContainsAny(s, " \"<>|`") {
		return fmt.Errorf("%s %q has a character that must be percent-encoded", name, s)
	}
	return nil
}

// Buttons returns the buttons Slack shows. It drops, without an error, a link button whose URL is empty or
// names a bare host such as http://alertmanager:9093.
func (a Attachment) Buttons() []Action {
	var shown []Action
	for _, action := range a.Actions {
		if action.Name != "" || publicHost(action.URL) {
			shown = append(shown, action)
		}
	}
	return shown
}

func publicHost(rawURL string) bool {
	u, err := url.Parse(rawURL)
	if err != nil {
		return false
	}
	host := u.Hostname()
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return strings.Contains(host, ".")
}
