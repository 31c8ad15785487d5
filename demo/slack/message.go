// Package slack simulates Slack on a developer's machine, in the demo and in tests.
//
// Input: the requests that Alertmanager sends to an incoming webhook, and posts and updates by the Web API. Output: Slack's
// responses, the accepted messages, and their text for a terminal. State: the Sink keeps the last accepted messages in
// memory. It never sends anything to Slack.
//
// Limits and error codes are those of Slack's documentation of incoming webhooks and of message attachments, so that Slack
// accepts what passes here.
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

// Slack's limits; those of texts are in characters.
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
	// Seq numbers the messages that a Sink accepted, from 1. To wait for the next message of a kind, ask for one with a
	// greater Seq than the last.
	Seq int `json:"-"`
	// Received is when the Sink accepted the message.
	Received time.Time `json:"-"`
	// Path is the path of the webhook's URL. It distinguishes the webhooks of channels.
	Path string `json:"-"`
	// TS identifies a message posted through the Web API, and Updates counts its updates.
	TS      string `json:"ts"`
	Updates int    `json:"-"`

	Channel     string       `json:"channel"`
	Username    string       `json:"username"`
	Text        string       `json:"text"`
	Attachments []Attachment `json:"attachments"`
}

// Attachment is a block of a message with a coloured bar on the left.
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

// Action is a button. Without an app behind the webhook, only buttons with a URL work.
type Action struct {
	Type  string `json:"type"`
	Text  string `json:"text"`
	URL   string `json:"url"`
	Style string `json:"style"`
	Name  string `json:"name"`
}

// An Error is a rejection by Slack: Code is the body of the response, Detail an explanation that Slack does not give.
type Error struct {
	Code   string
	Detail string
}

// Error implements error.
func (e *Error) Error() string { return e.Code + ": " + e.Detail }

// Parse decodes the body of a webhook request and checks it as Slack does. Every error is an *Error.
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

// checkURL accepts an empty URL, since Slack does not reject a button or a title without one.
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

// Buttons returns the buttons that Slack shows. Slack silently drops a link button with an empty URL or a bare host such as
// http://alertmanager:9093.
func (a Attachment) Buttons() []Action {
	var visible []Action
	for _, action := range a.Actions {
		if action.Name != "" || publicHost(action.URL) {
			visible = append(visible, action)
		}
	}
	return visible
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
