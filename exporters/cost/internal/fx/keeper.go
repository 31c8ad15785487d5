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

// maxJump is the share by which a rate may differ from the one before it. More needs the other bank to agree: the largest
// move of a major currency against the Canadian dollar between two days was below a tenth.
const maxJump = 0.10

// agreement is how near the other bank's rate has to be. The banks look at different times of the day.
const agreement = 0.03

// Options of a Keeper.
type Options struct {
	// Currencies are kept; more can be asked for with Want.
	Currencies []string
	// Fixed are rates for days on which no bank's rate is known.
	Fixed map[string]float64
	// From is the first day that rates are needed of.
	From time.Time
	// File keeps the rates; none if empty.
	File string
	// ValetURL and ECBURL are the banks' services.
	ValetURL, ECBURL string
	// Online asks the banks at all.
	Online bool
	Client *http.Client
	Now    func() time.Time
	Logger *slog.Logger
}

// Keeper keeps rates up to date. It is safe for concurrent use.
type Keeper struct {
	Options
	banks []bank // the better one first
	book  atomic.Pointer[Book]

	mu       sync.Mutex // guards what follows
	wanted   []string
	rates    []Rate
	rejected float64
}

// Open returns a keeper with the rates of its file. A damaged file is set aside: the banks have what was in it.
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

// Book returns the rates as they are known now.
func (k *Keeper) Book() Book { return *k.book.Load() }

// Rejected is how many rates were not believed.
func (k *Keeper) Rejected() float64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.rejected
}

// Want adds currencies to those that are kept, from the next Refresh on, and says whether any was new. What cannot be a
// currency is left out.
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

// Refresh asks the banks. The second one is asked where the first has nothing, or something hard to believe. What could
// be had is kept even when there is an error.
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

// ask returns the new rates that are believed.
func (k *Keeper) ask(ctx context.Context) (fresh []Rate, errs []error) {
	today := k.Now().UTC().Truncate(24 * time.Hour)
	answers := make([][]Rate, len(k.banks))
	asked := make([]bool, len(k.banks))
	answer := func(n int) []Rate {
		if !asked[n] {
			asked[n] = true
			rates, err := k.banks[n].rates(ctx, k.wanted, k.from())
			if err != nil {
				errs = append(errs, err)
			}
			// A day that has not come is a mistake of somebody's clock.
			answers[n] = slices.DeleteFunc(rates, func(r Rate) bool { return r.Day.After(today.Add(24 * time.Hour)) })
		}
		return answers[n]
	}
	known := NewBook(k.rates, nil)
	for _, currency := range k.wanted {
		for n := range k.banks {
			believed, doubted := k.believe(known, currency, answer(n), func(r Rate) bool { return k.confirmed(r, n, answer) })
			fresh = append(fresh, believed...)
			errs = append(errs, doubted...)
			if len(believed) > 0 {
				break
			}
		}
	}
	return fresh, errs
}

// from is the first day to ask for: all of them once, later the last ones, which a bank may correct.
func (k *Keeper) from() time.Time {
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

// believe returns those rates of a currency that do not jump, or that another bank confirms.
func (k *Keeper) believe(known Book, currency string, rates []Rate, confirmed func(Rate) bool) (believed []Rate, doubted []error) {
	var own []Rate
	for _, r := range rates {
		if r.Currency == currency {
			own = append(own, r)
		}
	}
	slices.SortFunc(own, func(a, b Rate) int { return a.Day.Compare(b.Day) })
	for _, r := range own {
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

// confirmed says whether another bank than n has nearly the same rate on that day.
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
