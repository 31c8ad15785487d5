package fx

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sightglass-ml/sightglass/exporters/cost/internal/durable"
)

// maxJump is the share by which a rate may differ from the one before it without a confirmation by the other bank. The
// largest move of a major currency against the Canadian dollar between two days was below a tenth.
const maxJump = 0.10

// agreement is the share by which the other bank's rate may differ. The banks observe at different times of the day.
const agreement = 0.03

// Options configure a Keeper.
type Options struct {
	// Currencies are kept. Want adds more.
	Currencies []string
	// Fixed are rates for days without a bank's rate.
	Fixed map[string]float64
	// From is the first day for which rates are needed.
	From time.Time
	// File stores the rates. If it is empty, they are only in memory.
	File string
	// ValetURL and ECBURL are the URLs of the banks' services.
	ValetURL, ECBURL string
	// Online enables queries to the banks.
	Online bool
	Client *http.Client
	Now    func() time.Time
	Logger *slog.Logger
}

// Keeper keeps rates up to date. It is safe for concurrent use.
type Keeper struct {
	Options
	banks []bank // best first
	book  atomic.Pointer[Book]

	mu       sync.Mutex // guards the fields below
	wanted   []string
	rates    []Rate
	rejected float64
}

// Open returns a keeper with the rates of its file. A damaged file is renamed, because the banks can supply its content
// again.
func Open(o Options) (*Keeper, error) {
	if o.Client == nil || o.Now == nil || o.Logger == nil {
		return nil, errors.New("a keeper of rates needs an HTTP client, a clock and a logger")
	}
	k := &Keeper{Options: o, wanted: slices.Clone(o.Currencies)}
	if o.Online {
		k.banks = []bank{valet{o.Client, o.ValetURL}, ecb{o.Client, o.ECBURL, o.Now}}
	}
	if o.File != "" {
		var stored []Rate
		err := durable.Read(o.File, &stored)
		for _, r := range stored {
			err = errors.Join(err, r.valid())
		}
		switch {
		case err == nil:
			k.rates = stored
		case !errors.Is(err, fs.ErrNotExist):
			o.Logger.Warn("The stored exchange rates are not used", "err", err)
		}
	}
	k.publish()
	return k, nil
}

func (k *Keeper) publish() {
	book := NewBook(k.rates, k.Fixed)
	k.book.Store(&book)
}

// Book returns the current rates.
func (k *Keeper) Book() Book { return *k.book.Load() }

// Rejected is the number of rates that were rejected as implausible.
func (k *Keeper) Rejected() float64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.rejected
}

// Want adds currencies, which are kept from the next Refresh on. It reports whether any was new. Texts that are not
// currency codes are ignored.
func (k *Keeper) Want(currencies ...string) (added bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range currencies {
		if ISO(c) && c != CAD && !slices.Contains(k.wanted, c) {
			k.wanted = append(k.wanted, c)
			added = true
		}
	}
	return added
}

// Refresh queries the banks. It queries the second bank if the first has no rate or an implausible one. The rates that
// it received are kept even if it returns an error.
func (k *Keeper) Refresh(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.banks) == 0 || len(k.wanted) == 0 {
		return nil
	}
	fresh, errs := k.ask(ctx)
	if len(fresh) == 0 {
		return errors.Join(errs...)
	}
	k.rates = merge(k.rates, fresh)
	k.publish()
	if k.File != "" {
		if err := durable.Write(k.File, k.rates); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// ask returns the new plausible rates.
func (k *Keeper) ask(ctx context.Context) (fresh []Rate, errs []error) {
	today := k.Now().UTC().Truncate(24 * time.Hour)
	answers := make([][]Rate, len(k.banks))
	queried := make([]bool, len(k.banks))
	answer := func(n int) []Rate {
		if !queried[n] {
			queried[n] = true
			rates, err := k.banks[n].rates(ctx, k.wanted, k.firstDay())
			if err != nil {
				errs = append(errs, err)
			}
			// A rate in the future means that a clock is wrong.
			answers[n] = slices.DeleteFunc(rates, func(r Rate) bool { return r.Day.After(today.Add(24 * time.Hour)) })
		}
		return answers[n]
	}
	known := NewBook(k.rates, nil)
	for _, currency := range k.wanted {
		for n := range k.banks {
			believed, doubted := k.plausible(known, currency, answer(n), func(r Rate) bool { return k.confirmed(r, n, answer) })
			fresh = append(fresh, believed...)
			errs = append(errs, doubted...)
			if len(believed) > 0 {
				break
			}
		}
	}
	return fresh, errs
}

// firstDay is the first day to query: the first day of all at the start, later only the last days, which a bank may
// correct.
func (k *Keeper) firstDay() time.Time {
	from := k.From.UTC().Truncate(24 * time.Hour)
	oldest := k.Now().Add(-maxGap).UTC().Truncate(24 * time.Hour)
	book := NewBook(k.rates, nil)
	for _, currency := range k.wanted {
		if rates := book.byCurrency[currency]; len(rates) == 0 || rates[0].Day.After(from.Add(maxGap)) {
			return from.Add(-maxGap) // so that the first day has a rate as well
		}
		rates := book.byCurrency[currency]
		if last := rates[len(rates)-1].Day; last.Before(oldest) {
			oldest = last
		}
	}
	return oldest
}

// plausible returns the plausible rates of a currency: those without a jump, and those that another bank confirms.
func (k *Keeper) plausible(known Book, currency string, rates []Rate, confirmed func(Rate) bool) (believed []Rate, doubted []error) {
	var ofCurrency []Rate
	for _, r := range rates {
		if r.Currency == currency {
			ofCurrency = append(ofCurrency, r)
		}
	}
	slices.SortFunc(ofCurrency, func(a, b Rate) int { return a.Day.Compare(b.Day) })
	for _, r := range ofCurrency {
		before, ok := known.At(currency, r.Day.Add(-24*time.Hour))
		if n := len(believed); n > 0 {
			before, ok = believed[n-1], true
		}
		if ok && math.Abs(r.CAD/before.CAD-1) > maxJump && !confirmed(r) {
			k.rejected++
			doubted = append(doubted, fmt.Errorf("rate of %s on %s is %g in the answer of %s, after %g on %s: not believed, as it moved by more than %g %% and no other bank says the same",
				currency, r.Day.Format(dayFormat), r.CAD, r.Source, before.CAD, before.Day.Format(dayFormat), 100*maxJump))
			continue
		}
		believed = append(believed, r)
	}
	return believed, doubted
}

// confirmed reports whether a bank other than n has nearly the same rate for that day.
func (k *Keeper) confirmed(r Rate, n int, answer func(int) []Rate) bool {
	for other := range k.banks {
		if other == n {
			continue
		}
		if slices.ContainsFunc(answer(other), func(o Rate) bool {
			return o.Currency == r.Currency && o.Day.Equal(r.Day) && math.Abs(o.CAD/r.CAD-1) <= agreement
		}) {
			return true
		}
	}
	return false
}

// merge replaces rates of the same currency, day and source.
func merge(old, fresh []Rate) []Rate {
	type key struct {
		currency, source string
		day              time.Time
	}
	of := func(r Rate) key { return key{r.Currency, r.Source, r.Day} }
	replaced := make(map[key]bool, len(fresh))
	for _, r := range fresh {
		replaced[of(r)] = true
	}
	merged := slices.DeleteFunc(slices.Clone(old), func(r Rate) bool { return replaced[of(r)] })
	return append(merged, fresh...)
}
