package action

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sightglass-ml/sightglass/internal/guard"
	"github.com/sightglass-ml/sightglass/responder/internal/audit"
	"github.com/sightglass-ml/sightglass/responder/internal/grouping"
	"github.com/sightglass-ml/sightglass/responder/internal/store"
)

// Snapshots returns the last snapshot of a dataset that passed every check, or "".
type Snapshots interface {
	LastGood(ctx context.Context, dataset, cluster, namespace string) (string, error)
}

// Options configure a Worker.
type Options struct {
	Store  *store.Store
	Logger *slog.Logger
	Now    func() time.Time
	// Snapshots is used if an alert names no snapshot; optional.
	Snapshots func() Snapshots
	// Lineage has the datasets that models learn from; optional.
	Lineage func() *grouping.Graph
	// Started receives the time from the decision until the target accepted the action.
	Started func(action string, latency time.Duration)
}

// Worker sends actions to their targets and follows them. Several workers, of one or several processes, may share a store.
type Worker struct {
	Options
	set    atomic.Pointer[actionSet]
	wake   chan struct{}
	name   string
	claims atomic.Int64
}

// actionSet is the configured actions with their targets.
type actionSet struct {
	configs []Config
	targets map[string]*target
}

// NewWorker returns a worker without actions; see Configure.
func NewWorker(o Options) (*Worker, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("find the name of the host: %w", err)
	}
	if o.Lineage == nil {
		o.Lineage = func() *grouping.Graph { return &grouping.Graph{} }
	}
	w := &Worker{Options: o, wake: make(chan struct{}, 1), name: fmt.Sprintf("%s/%d/%s", host, os.Getpid(), rand.Text()[:8])}
	w.set.Store(&actionSet{})
	return w, nil
}

// Configure replaces the actions.
func (w *Worker) Configure(actions []Config) error {
	set := &actionSet{configs: actions, targets: map[string]*target{}}
	for i := range actions {
		t, err := actions[i].Target.target(actions[i].Name)
		if err != nil {
			return fmt.Errorf("action %q: %w", actions[i].Name, err)
		}
		set.targets[actions[i].Name] = t
	}
	w.set.Store(set)
	w.Wake()
	return nil
}

// Actions returns the configured actions.
func (w *Worker) Actions() []Config { return w.set.Load().configs }

// Wake makes the worker check for due actions now.
func (w *Worker) Wake() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// idle is the interval at which a worker checks for due actions and those of other replicas.
const idle = time.Second

// Run processes n actions concurrently until the context ends.
func (w *Worker) Run(ctx context.Context, n int) {
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for ctx.Err() == nil {
				var did bool
				err := guard.Call(w.Logger, "action", func() (err error) {
					did, err = w.Once(ctx)
					return err
				})
				if err != nil && ctx.Err() == nil {
					w.Logger.Error("An action could not be worked on; it stays where it is", "err", err)
				}
				if did && err == nil {
					w.Wake() // More actions may be due, also for the other goroutines.
					continue
				}
				timer := time.NewTimer(idle)
				select {
				case <-ctx.Done():
				case <-timer.C:
				case <-w.wake:
					if err != nil { // Do not poll an unavailable store in a tight loop.
						<-timer.C
					}
				}
				timer.Stop()
			}
		})
	}
	wg.Wait()
}

// Once processes one due action, if there is one.
func (w *Worker) Once(ctx context.Context) (did bool, err error) {
	set := w.set.Load()
	first := int(w.claims.Load()) // Rotate, so that a busy action does not starve the others.
	for i := range set.configs {
		c := &set.configs[(first+i)%len(set.configs)]
		if c.DryRun {
			continue // Actions stored before dry_run was set wait until it is unset.
		}
		j, err := w.take(ctx, c)
		if err != nil {
			return false, fmt.Errorf("claim an action %q: %w", c.Name, err)
		}
		if j == nil {
			continue
		}
		j.target = set.targets[c.Name]
		if err := w.work(ctx, j); err != nil {
			return true, fmt.Errorf("action %s (%s): %w", j.Key, c.Name, err)
		}
		return true, nil
	}
	return false, nil
}

// job is a claimed action.
type job struct {
	Params
	config *Config
	target *target
	owner  string

	state    string
	resent   bool // an earlier attempt may have reached the target
	targetID string
	attempts int

	created, firstTry, started time.Time
}

// take claims an action by a lease. It starts a new one only if max_in_flight allows it; the lock makes the count valid
// across all replicas.
func (w *Worker) take(ctx context.Context, c *Config) (*job, error) {
	var j *job
	err := w.Store.Write(ctx, func(tx *store.Tx) error {
		j = nil
		if err := tx.Lock("claims/" + c.Name); err != nil {
			return err
		}
		now := w.Now()
		due := `SELECT id, params, state, target_id, attempts, created_at, first_tried_at, started_at FROM actions
			WHERE name = ? AND state = ? AND not_before <= ? AND lease_until <= ? ORDER BY not_before LIMIT 1` + tx.SkipLocked()
		found := job{config: c}
		var id, params string
		var created, firstTry, started int64
		for _, state := range []string{stateRunning, stateSending, statePending} {
			if state == statePending {
				var inFlight int
				if err := tx.QueryRow(`SELECT COUNT(*) FROM actions WHERE name = ? AND state IN (?, ?)`, c.Name, stateSending, stateRunning).Scan(&inFlight); err != nil {
					return err
				}
				if inFlight >= c.MaxInFlight {
					return nil
				}
			}
			err := tx.QueryRow(due, c.Name, state, store.Micros(now), store.Micros(now)).
				Scan(&id, &params, &found.state, &found.targetID, &found.attempts, &created, &firstTry, &started)
			if errors.Is(err, sql.ErrNoRows) {
				continue
			}
			if err != nil {
				return err
			}
			break
		}
		if id == "" {
			return nil
		}
		if err := json.Unmarshal([]byte(params), &found.Params); err != nil {
			return fmt.Errorf("read the values of action %s: %w", id, err)
		}
		found.created, found.firstTry, found.started = store.Time(created), store.Time(firstTry), store.Time(started)
		if firstTry == 0 {
			found.firstTry = now
		}
		found.resent = found.state == stateSending
		if found.state == statePending {
			found.state = stateSending
		}
		// Long enough for a look-up, a search and a call with their timeouts, and for clock differences between replicas.
		until := now.Add(3*time.Duration(c.RequestTimeout) + 15*time.Second)
		found.owner = w.name + "/" + strconv.FormatInt(w.claims.Add(1), 10)
		if _, err := tx.Exec(`UPDATE actions SET state = ?, lease_owner = ?, lease_until = ?, first_tried_at = ? WHERE id = ?`,
			found.state, found.owner, store.Micros(until), store.Micros(found.firstTry), id); err != nil {
			return err
		}
		j = &found
		return nil
	})
	return j, err
}

// ReleaseLeases releases the leases of a crashed process. Use it only if no other process works on the store.
func (w *Worker) ReleaseLeases(ctx context.Context) error {
	return w.Store.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE actions SET lease_until = 0, lease_owner = '' WHERE lease_until > 0`)
		return err
	})
}

// errLeaseLost means that another worker has taken the action over, so that this worker's result is discarded.
var errLeaseLost = errors.New("took so long that another worker has taken over")

func (w *Worker) work(ctx context.Context, j *job) error {
	if j.state == stateRunning {
		return w.follow(ctx, j)
	}
	return w.send(ctx, j)
}

func (w *Worker) request(ctx context.Context, j *job) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, time.Duration(j.config.RequestTimeout))
}

// send sends the action to its target and stores the result.
func (w *Worker) send(ctx context.Context, j *job) error {
	id, err := w.start(ctx, j)
	if ctx.Err() != nil {
		return ctx.Err() // The process is stopping. The call may have arrived; the target recognises the repetition by its key.
	}
	now := w.Now()
	if err == nil {
		return w.took(ctx, j, id, now)
	}
	j.attempts++
	var permanent permanentError
	if errors.As(err, &permanent) {
		return w.finish(ctx, j, Rejected, err.Error())
	}
	pause := w.pause(j)
	var later laterError
	if errors.As(err, &later) {
		pause = max(pause, later.after)
	}
	if next := now.Add(pause); next.Sub(j.firstTry) > time.Duration(j.config.GiveUpAfter) {
		return w.finish(ctx, j, Undelivered, err.Error())
	}
	w.Logger.Warn("An action did not reach its target; it will be sent again", "action", j.Key, "name", j.config.Name, "attempt", j.attempts,
		"again_in", pause, "err", err)
	return w.update(ctx, j, func(tx *store.Tx) error {
		if err := j.set(tx, stateSending, "", now.Add(pause), err.Error()); err != nil {
			return err
		}
		return audit.Append(tx, audit.Record{
			Time: now, Kind: "action_attempt_failed", Actor: "responder", Subject: j.Key,
			Facts:  map[string]string{"name": j.config.Name, "attempt": strconv.Itoa(j.attempts)},
			Detail: map[string]string{"error": err.Error()},
		})
	})
}

// start completes the values, looks for an earlier run and calls the target.
func (w *Worker) start(ctx context.Context, j *job) (string, error) {
	if err := w.lookUpSnapshot(ctx, j); err != nil {
		return "", err
	}
	if missing := j.missing(j.config.Requires); len(missing) > 0 {
		return "", permanentError{fmt.Errorf("the alert has no %s, which the action requires", strings.Join(missing, ", "))}
	}
	// An earlier attempt may have arrived without a response. If the target ignores keys, look for the run first.
	if j.resent && j.target.find != nil {
		find, cancel := w.request(ctx, j)
		defer cancel()
		id, found, err := j.target.Find(find, j.Params, j.created)
		if err != nil || found {
			return id, err
		}
	}
	call, cancel := w.request(ctx, j)
	defer cancel()
	return j.target.Start(call, j.Params)
}

// lookUpSnapshot reads the snapshot once and stores it, so that every attempt sends the same one.
func (w *Worker) lookUpSnapshot(ctx context.Context, j *job) error {
	if j.LastGoodSnapshot != "" || j.Dataset == "" || w.Snapshots == nil || w.Snapshots() == nil {
		return nil
	}
	ask, cancel := w.request(ctx, j)
	defer cancel()
	snapshot, err := w.Snapshots().LastGood(ask, j.Dataset, j.Cluster, j.Namespace)
	if err != nil {
		return fmt.Errorf("ask for the last good snapshot of %s: %w", j.Dataset, err)
	}
	if snapshot == "" {
		return nil
	}
	j.LastGoodSnapshot = snapshot
	params, err := json.Marshal(j.Params)
	if err != nil {
		return err
	}
	return w.update(ctx, j, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE actions SET params = ? WHERE id = ?`, string(params), j.Key)
		return err
	})
}

// took stores that the target accepted the action.
func (w *Worker) took(ctx context.Context, j *job, id string, now time.Time) error {
	if w.Started != nil {
		w.Started(j.Action, now.Sub(j.created))
	}
	j.attempts++
	started := func(tx *store.Tx) error {
		return audit.Append(tx, audit.Record{Time: now, Kind: "action_started", Actor: "responder", Subject: j.Key, Facts: map[string]string{
			"name": j.config.Name, "target_id": id, "attempt": strconv.Itoa(j.attempts),
			"last_good_snapshot": j.LastGoodSnapshot,
		}})
	}
	if j.target.status == nil {
		j.targetID = id
		return w.finishAfter(ctx, j, Succeed, "the target took it and is not asked for its end", started)
	}
	return w.update(ctx, j, func(tx *store.Tx) error {
		if err := j.set(tx, stateRunning, id, now.Add(time.Duration(j.config.PollInterval)), ""); err != nil {
			return err
		}
		if _, err := tx.Exec(`UPDATE actions SET started_at = ? WHERE id = ?`, store.Micros(now), j.Key); err != nil {
			return err
		}
		return started(tx)
	})
}

// follow reads the state of the run from the target.
func (w *Worker) follow(ctx context.Context, j *job) error {
	phase, word, err := w.check(ctx, j)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	switch {
	case err == nil && phase == Succeeded:
		return w.finish(ctx, j, Succeed, word)
	case err == nil && phase == Failed:
		return w.finish(ctx, j, Fail, word)
	}
	now := w.Now()
	problem := ""
	if err != nil {
		problem = err.Error()
	}
	if now.Sub(j.started) > time.Duration(j.config.RunTimeout) {
		if err == nil {
			problem = "the target's state is " + strconv.Quote(word)
		}
		return w.finish(ctx, j, TimedOut, problem)
	}
	return w.update(ctx, j, func(tx *store.Tx) error {
		return j.set(tx, stateRunning, j.targetID, now.Add(time.Duration(j.config.PollInterval)), problem)
	})
}

// check reads the state of the run. It first looks up the ID if the target did not return one.
func (w *Worker) check(ctx context.Context, j *job) (Phase, string, error) {
	if j.targetID == "" {
		find, cancel := w.request(ctx, j)
		defer cancel()
		id, found, err := j.target.Find(find, j.Params, j.created)
		if err != nil {
			return "", "", err
		}
		if !found {
			return "", "", errors.New("the target does not list the run yet")
		}
		now := w.Now()
		j.targetID = id
		if err := w.update(ctx, j, func(tx *store.Tx) error {
			if _, err := tx.Exec(`UPDATE actions SET target_id = ? WHERE id = ?`, id, j.Key); err != nil {
				return err
			}
			return audit.Append(tx, audit.Record{Time: now, Kind: "action_found", Actor: "responder", Subject: j.Key, Facts: map[string]string{
				"name": j.config.Name, "target_id": id,
			}})
		}); err != nil {
			return "", "", err
		}
	}
	status, cancel := w.request(ctx, j)
	defer cancel()
	return j.target.Status(status, j.targetID)
}

// pause returns the wait before the next attempt: it doubles with each attempt and is randomised, so that many actions do not
// reach a target at the same moment.
func (w *Worker) pause(j *job) time.Duration {
	pause := time.Duration(j.config.RetryMax)
	if doublings := j.attempts - 1; doublings < 20 {
		pause = min(pause, time.Duration(j.config.RetryMin)<<doublings)
	}
	return pause/2 + mathrand.N(pause/2+1) //nolint:gosec // The random number has no security purpose.
}

// finish stores the result of the action.
func (w *Worker) finish(ctx context.Context, j *job, result, detail string) error {
	return w.finishAfter(ctx, j, result, detail, nil)
}

func (w *Worker) finishAfter(ctx context.Context, j *job, result, detail string, before func(*store.Tx) error) error {
	now := w.Now()
	if result != Succeed {
		w.Logger.Error("An action did not succeed", "action", j.Key, "name", j.config.Name, "result", result, "err", detail)
	}
	return w.update(ctx, j, func(tx *store.Tx) error { return j.end(tx, result, detail, now, before) })
}

// end stores the result of the action in tx. before appends earlier records to the audit trail.
func (j *job) end(tx *store.Tx, result, detail string, now time.Time, before func(*store.Tx) error) error {
	problem := ""
	if result != Succeed {
		problem = detail
	}
	if err := j.set(tx, stateDone, j.targetID, now, problem); err != nil {
		return err
	}
	if _, err := tx.Exec(`UPDATE actions SET result = ?, finished_at = ? WHERE id = ?`, result, store.Micros(now), j.Key); err != nil {
		return err
	}
	if err := count(tx, j.Action, result); err != nil {
		return err
	}
	if before != nil {
		if err := before(tx); err != nil {
			return err
		}
	}
	return audit.Append(tx, audit.Record{
		Time: now, Kind: "action_finished", Actor: "responder", Subject: j.Key,
		Facts:  map[string]string{"name": j.config.Name, "result": result, "target_id": j.targetID, "attempts": strconv.Itoa(j.attempts)},
		Detail: map[string]string{"target_says": detail},
	})
}

// update runs f if the job still has its lease.
func (w *Worker) update(ctx context.Context, j *job, f func(tx *store.Tx) error) error {
	return w.Store.Write(ctx, func(tx *store.Tx) error {
		var owner string
		lock := ""
		if w.Store.PostgreSQL() {
			lock = " FOR UPDATE"
		}
		if err := tx.QueryRow(`SELECT lease_owner FROM actions WHERE id = ?`+lock, j.Key).Scan(&owner); err != nil {
			return fmt.Errorf("look at the lease: %w", err)
		}
		if owner != j.owner {
			return errLeaseLost
		}
		return f(tx)
	})
}

// maxError bounds the stored text of an error.
const maxError = 1000

// set stores the state of the action and releases the lease.
func (j *job) set(tx *store.Tx, state, targetID string, notBefore time.Time, problem string) error {
	_, err := tx.Exec(`UPDATE actions SET state = ?, target_id = ?, attempts = ?, last_error = ?, not_before = ?, lease_until = 0, lease_owner = ''
		WHERE id = ?`, state, targetID, j.attempts, strings.ToValidUTF8(problem[:min(len(problem), maxError)], ""), store.Micros(notBefore), j.Key)
	return err
}

// unconfiguredRetention is how long an action without a configuration is kept. During a rollout, a replica with the old configuration
// must not end actions that it does not know.
const unconfiguredRetention = 24 * time.Hour

// GiveUpUnconfigured ends actions that have not changed for a day because no configuration names them any more.
func (w *Worker) GiveUpUnconfigured(ctx context.Context) error {
	named := map[string]bool{}
	for _, c := range w.Actions() {
		named[c.Name] = true
	}
	now := w.Now()
	return w.Store.Write(ctx, func(tx *store.Tx) error {
		var left []job
		if err := tx.Each(`SELECT id, name, action, target_id, attempts FROM actions WHERE state IN (?, ?, ?) AND not_before < ? AND lease_until < ?`,
			[]any{statePending, stateSending, stateRunning, store.Micros(now.Add(-unconfiguredRetention)), store.Micros(now)}, func(scan func(...any) error) error {
				j := job{config: &Config{}}
				err := scan(&j.Key, &j.config.Name, &j.Action, &j.targetID, &j.attempts)
				if !named[j.config.Name] {
					left = append(left, j)
				}
				return err
			}); err != nil {
			return err
		}
		for _, j := range left {
			if err := j.end(tx, Undelivered, "the configuration does not name the action any more", now, nil); err != nil {
				return err
			}
		}
		return nil
	})
}
