package incident

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sightglass-ml/sightglass/responder/internal/store"
)

const (
	// AnnounceInterval is the interval between two messages. Slack accepts one message a second in a channel.
	AnnounceInterval = 2 * time.Second
	// settle is the minimum time between two updates of a message, so that a storm does not cause an update for each alert.
	settle = 10 * time.Second
	// announceLease bounds the time that a replica may take for one message.
	announceLease = time.Minute
	// leastPause and mostPause bound the wait after a failed attempt. The wait doubles with each attempt.
	leastPause, mostPause = 5 * time.Second, 10 * time.Minute
)

// Announcer keeps one Slack message for each incident up to date. The work to do is the difference between an incident and
// its message in the store. So there is no queue that could grow or be lost, and intermediate states are skipped.
type Announcer struct {
	store *store.Store
	now   func() time.Time

	target atomic.Pointer[target]
	quiet  atomic.Int64 // time in microseconds until which Slack asked to wait
	failed atomic.Pointer[error]
	counts [2]atomic.Uint64
}

type target struct {
	*slackClient
	linkConfig Links
}

// NewAnnouncer returns an Announcer over a store. Before Configure it sends nothing.
func NewAnnouncer(s *store.Store, now func() time.Time) *Announcer {
	return &Announcer{store: s, now: now}
}

// Configure replaces the configuration; nil disables messages.
func (a *Announcer) Configure(cfg *SlackConfig, linkConfig Links) error {
	if cfg == nil {
		a.target.Store(nil)
		return nil
	}
	client, err := newSlackClient(*cfg)
	if err != nil {
		return err
	}
	a.target.Store(&target{client, linkConfig})
	return nil
}

// Messages returns the number of accepted messages and of failed attempts.
func (a *Announcer) Messages() (sent, failed uint64) { return a.counts[0].Load(), a.counts[1].Load() }

// state is an SQL expression for the state that a message shows: all columns of the incident, and its actions.
const state = `i.digest || '/' || CAST(i.acknowledged_at AS TEXT) || '/' || i.merged_into || '/' || COALESCE((SELECT CAST(SUM(x.created_at + x.started_at + x.finished_at) AS TEXT)
	FROM actions x JOIN incident_alerts m ON m.alert_id = x.alert_id WHERE m.incident_id = i.id), '')`

// due is an incident without a message, or with an outdated one.
type due struct {
	id, channel, ts, state string
	attempts               int
}

// Send sends at most one message. After a failure it returns the error until a message succeeds, also during the wait.
func (a *Announcer) Send(ctx context.Context) error {
	t := a.target.Load()
	now := a.now()
	if t == nil {
		a.failed.Store(nil)
		return nil
	}
	if store.Micros(now) < a.quiet.Load() {
		return a.failure()
	}
	d, v, err := a.claim(ctx, t, now)
	if err != nil {
		return err
	}
	if d == nil {
		return a.failure()
	}
	if err := a.sendOne(ctx, t, d, v.message(t.linkConfig), now); err != nil {
		a.failed.Store(&err)
		return err
	}
	a.failed.Store(nil)
	return nil
}

func (a *Announcer) failure() error {
	if err := a.failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (a *Announcer) sendOne(ctx context.Context, t *target, d *due, m slackMessage, now time.Time) error {
	answer, err := t.send(ctx, d, m)
	if err == nil {
		a.counts[0].Add(1)
		return a.record(ctx, d, `slack_channel = ?, slack_ts = ?, slack_digest = ?, slack_attempts = 0, slack_not_before = ?`,
			answer.Channel, answer.TS, d.state, store.Micros(now.Add(settle)))
	}
	a.counts[1].Add(1)
	pause := min(leastPause<<min(d.attempts, 8), mostPause)
	var refused *slackError
	if errors.As(err, &refused) && refused.after > 0 {
		pause = refused.after
		a.quiet.Store(store.Micros(now.Add(refused.after))) // The limit applies to the channel, so wait with all messages.
	}
	if isLostMessage(err) {
		return errors.Join(err, a.record(ctx, d, `slack_channel = '', slack_ts = '', slack_digest = '', slack_not_before = ?`, store.Micros(now.Add(AnnounceInterval))))
	}
	return errors.Join(fmt.Errorf("tell Slack of incident %s: %w", d.id, err),
		a.record(ctx, d, `slack_attempts = slack_attempts + 1, slack_not_before = ?`, store.Micros(now.Add(pause))))
}

// claim leases the incident that has waited longest, and reads it.
func (a *Announcer) claim(ctx context.Context, t *target, now time.Time) (d *due, v *View, err error) {
	severities := make([]any, len(t.cfg.Severities))
	for i, s := range t.cfg.Severities {
		severities[i] = s
	}
	if len(severities) == 0 {
		return nil, nil, nil
	}
	// An incident that was resolved before its first message gets none. A merged incident gets one final update.
	query := ` FROM incidents i WHERE i.slack_not_before <= ? AND i.slack_digest <> ` + state + `
		AND (i.slack_ts <> '' OR i.resolved_at = 0 AND i.merged_into = '' AND i.severity IN (?` + strings.Repeat(", ?", len(severities)-1) + `))
		ORDER BY i.slack_not_before, i.started_at, i.id LIMIT 1`
	args := append([]any{store.Micros(now)}, severities...)
	next := func(tx *store.Tx) error {
		d = &due{}
		err := tx.QueryRow(`SELECT i.id, i.slack_channel, i.slack_ts, i.slack_attempts, `+state+query, args...).Scan(&d.id, &d.channel, &d.ts, &d.attempts, &d.state)
		if errors.Is(err, sql.ErrNoRows) {
			d = nil
			return nil
		}
		return err
	}
	// Usually nothing is due: the check only reads.
	if err := a.store.Read(ctx, next); err != nil || d == nil {
		return nil, nil, err
	}
	err = a.store.Write(ctx, func(tx *store.Tx) error {
		if err := tx.Lock("slack"); err != nil {
			return err
		}
		if err := next(tx); err != nil || d == nil {
			return err
		}
		if _, err := tx.Exec(`UPDATE incidents SET slack_not_before = ? WHERE id = ?`, store.Micros(now.Add(announceLease)), d.id); err != nil {
			return err
		}
		v, err = Get(tx, d.id, t.linkConfig)
		return err
	})
	return d, v, err
}

func (t *target) send(ctx context.Context, d *due, m slackMessage) (slackAnswer, error) {
	method := "chat.postMessage"
	m.Channel, m.UnfurlLinks = t.cfg.Channel, new(bool)
	if d.ts != "" {
		// An update needs the channel ID from Slack's response, not the channel's name.
		method, m.Channel, m.TS, m.UnfurlLinks = "chat.update", d.channel, d.ts, nil
	}
	answer, err := t.call(ctx, method, m)
	if err == nil && (answer.TS == "" || answer.Channel == "") {
		return answer, errors.New("the answer of Slack has no ts or channel, by which the message could be updated")
	}
	return answer, err
}

func (a *Announcer) record(ctx context.Context, d *due, set string, args ...any) error {
	return a.store.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE incidents SET `+set+` WHERE id = ?`, append(args, d.id)...)
		return err
	})
}
