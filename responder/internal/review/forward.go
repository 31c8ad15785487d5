package review

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/sightglass-ml/sightglass/internal/config"
	contract "github.com/sightglass-ml/sightglass/internal/review"
	"github.com/sightglass-ml/sightglass/responder/internal/audit"
	"github.com/sightglass-ml/sightglass/responder/internal/store"
)

// ForwardResults are the possible results of forwarding an item.
var ForwardResults = []string{"ok", "refused"}

const (
	forwardTimeout = 10 * time.Second
	// lease keeps other replicas from sending the same item. It is also the delay until the item is sent again after a crash.
	lease        = 3 * forwardTimeout
	forwardRetry = 5 * time.Second
	// forwardLongest is the maximum wait between two attempts.
	forwardLongest = 10 * time.Minute
)

var forwardClient = &http.Client{
	Timeout: forwardTimeout,
	// No redirects: they could send the token to another host.
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// Forward sends all due items to the external tool. An item is sent at least once, always with its ID as the idempotency key.
func (a *API) Forward(ctx context.Context) error {
	for {
		cfg := a.cfg.Load()
		if cfg == nil || cfg.Forward == nil {
			return nil
		}
		item, attempts, err := a.claim(ctx)
		if err != nil || item == nil {
			return err
		}
		refused, sendErr := send(ctx, *cfg.Forward, *item)
		if err := a.store.Write(ctx, func(tx *store.Tx) error { return forwarded(tx, item, attempts, refused, sendErr, a.now()) }); err != nil {
			return err
		}
		if sendErr != nil && !refused {
			return fmt.Errorf("forward item %s: %w", item.ID, sendErr) // The tool is down, so the other items would fail, too.
		}
	}
}

// claim returns a due item, or nil.
func (a *API) claim(ctx context.Context) (item *contract.Item, attempts int, err error) {
	err = a.store.Write(ctx, func(tx *store.Tx) error {
		item = nil
		now := a.now()
		var id, text, excerpt string
		err := tx.QueryRow(`SELECT id, item, excerpt, forward_attempts FROM review_items WHERE forward_at > 0 AND forward_at <= ?
			ORDER BY forward_at LIMIT 1`+tx.SkipLocked(), store.Micros(now)).Scan(&id, &text, &excerpt, &attempts)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := tx.Exec(`UPDATE review_items SET forward_at = ?, forward_attempts = forward_attempts + 1 WHERE id = ?`, store.Micros(now.Add(lease)), id); err != nil {
			return err
		}
		item = &contract.Item{}
		if err := json.Unmarshal([]byte(text), item); err != nil {
			return err
		}
		item.Excerpt = excerpt
		return nil
	})
	return item, attempts, err
}

func send(ctx context.Context, cfg ForwardConfig, item contract.Item) (refused bool, err error) {
	body, err := json.Marshal(item)
	if err != nil {
		return true, err
	}
	ctx, cancel := context.WithTimeout(ctx, forwardTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, cfg.URL, bytes.NewReader(body))
	if err != nil {
		return true, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(contract.IdempotencyHeader, item.ID)
	if cfg.Token != (config.SecretSource{}) {
		token, err := cfg.Token.Read()
		if err != nil {
			return false, err
		}
		req.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
	res, err := forwardClient.Do(req)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
	switch {
	case res.StatusCode/100 == 2:
		return false, nil
	case res.StatusCode/100 == 4 && res.StatusCode != http.StatusTooManyRequests && res.StatusCode != http.StatusUnauthorized && res.StatusCode != http.StatusForbidden:
		return true, fmt.Errorf("the tool answered %s, which it will do again", res.Status)
	default: // A rejected token is a configuration error, so the item is kept and sent again.
		return false, fmt.Errorf("the tool answered %s", res.Status)
	}
}

func forwarded(tx *store.Tx, item *contract.Item, attempts int, refused bool, sendErr error, now time.Time) error {
	if sendErr != nil && !refused {
		pause := min(forwardRetry<<min(attempts, 10), forwardLongest)
		_, err := tx.Exec(`UPDATE review_items SET forward_at = ?, forward_error = ? WHERE id = ?`, store.Micros(now.Add(pause)), sendErr.Error(), item.ID)
		return err
	}
	result, text := "ok", ""
	if refused {
		result, text = "refused", sendErr.Error()
	}
	if _, err := tx.Exec(`UPDATE review_items SET forward_at = 0, forward_error = ? WHERE id = ?`, text, item.ID); err != nil {
		return err
	}
	if _, err := count(tx, "forward_"+result); err != nil {
		return err
	}
	return audit.Append(tx, audit.Record{
		Time: now, Kind: "review_forwarded", Actor: "responder", Subject: item.ID, Facts: map[string]string{"result": result}, Detail: map[string]string{"error": text},
	})
}
