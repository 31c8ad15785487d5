package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/prometheus/common/model"
)

// Limits of a message. Real alerts are far below them.
const (
	maxAlerts     = 1000
	maxPairs      = 100
	maxName       = 256
	maxLabel      = 4 << 10
	maxAnnotation = 16 << 10
	maxProblems   = 20
)

// Message has the fields in use of version 4 of Alertmanager's webhook. Later versions may add fields, so unknown ones are
// ignored.
type Message struct {
	Version         string  `json:"version"`
	GroupKey        string  `json:"groupKey"`
	TruncatedAlerts uint64  `json:"truncatedAlerts"`
	Receiver        string  `json:"receiver"`
	Alerts          []Alert `json:"alerts"`
}

// Alert is an alert of a message.
type Alert struct {
	Status      string            `json:"status"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
	Fingerprint string            `json:"fingerprint"`
}

// The statuses of an alert.
const (
	firing   = "firing"
	resolved = "resolved"
)

// ID identifies one firing of an alert: the fingerprint stands for the labels, and the start distinguishes firings.
func (a *Alert) ID() string {
	return a.Fingerprint + "-" + strconv.FormatInt(a.StartsAt.UnixNano(), 10)
}

// Decode decodes a message. Its error lists everything that is wrong.
func Decode(body []byte) (*Message, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	var m Message
	if err := dec.Decode(&m); err != nil {
		return nil, fmt.Errorf("the body is not a message of Alertmanager: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the body goes on after the message")
	}
	var p problems
	m.check(&p)
	return &m, p.err()
}

// problems returns what is wrong with a message, up to a limit.
type problems struct {
	errs  []error
	other int
}

func (p *problems) add(format string, args ...any) {
	if len(p.errs) == maxProblems {
		p.other++
		return
	}
	p.errs = append(p.errs, fmt.Errorf(format, args...))
}

func (p *problems) err() error {
	if p.other > 0 {
		p.errs = append(p.errs, fmt.Errorf("and %d more problems", p.other))
	}
	return errors.Join(p.errs...)
}

func (m *Message) check(p *problems) {
	if m.Version != "4" {
		p.add("version: %.20q; want \"4\"", m.Version)
	}
	if len(m.Receiver) > maxLabel || !utf8.ValidString(m.Receiver) {
		p.add("receiver: has %d bytes; want UTF-8 of at most %d", len(m.Receiver), maxLabel)
	}
	if n := len(m.Alerts); n == 0 || n > maxAlerts {
		p.add("alerts: has %d; want 1 to %d", n, maxAlerts)
		return
	}
	for i := range m.Alerts {
		m.Alerts[i].check(fmt.Sprintf("alerts[%d].", i), p)
	}
}

func (a *Alert) check(at string, p *problems) {
	if a.Status != firing && a.Status != resolved {
		p.add("%sstatus: %.20q; want firing or resolved", at, a.Status)
	}
	// A fingerprint is 64 bits in hexadecimal.
	if _, err := strconv.ParseUint(a.Fingerprint, 16, 64); err != nil || len(a.Fingerprint) != 16 {
		p.add("%sfingerprint: %.40q; want 16 digits in hex", at, a.Fingerprint)
	}
	if y := a.StartsAt.Year(); y < 2000 || y > 2200 {
		p.add("%sstartsAt: %s; want the time at which the alert began to fire", at, a.StartsAt.Format(time.RFC3339))
	}
	if a.EndsAt.Year() > 2200 {
		p.add("%sendsAt: %s; want a time before 2200", at, a.EndsAt.Format(time.RFC3339))
	}
	if a.Labels[model.AlertNameLabel] == "" {
		p.add("%slabels.alertname: missing", at)
	}
	check := func(kind string, pairs map[string]string, most int) {
		if len(pairs) > maxPairs {
			p.add("%s%s: has %d; want at most %d", at, kind, len(pairs), maxPairs)
			return
		}
		for name, value := range pairs {
			if name == "" || len(name) > maxName || !model.UTF8Validation.IsValidLabelName(name) {
				p.add("%s%s: %.40q is no name of at most %d bytes", at, kind, name, maxName)
			}
			if len(value) > most || !utf8.ValidString(value) || bytes.ContainsRune([]byte(value), 0) {
				p.add("%s%s.%.40s: has %d bytes; want UTF-8 of at most %d, without NUL", at, kind, name, len(value), most)
			}
		}
	}
	check("labels", a.Labels, maxLabel)
	check("annotations", a.Annotations, maxAnnotation)
}
