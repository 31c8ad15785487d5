package bill

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/thanos-io/objstore"
)

// Grouping defines which files of a source are one delivery, that is, were written by the provider at one time. Most
// exports write a folder with several files. Some write one file.
type Grouping string

// The groupings.
const (
	ByFolder Grouping = "folder"
	ByFile   Grouping = "file"
)

// Deliveries is how a delivery changes earlier ones of the same billing period.
type Deliveries string

const (
	// Replace is for exports that contain the month so far each time.
	Replace Deliveries = "replace"
	// Append is for exports that contain only new data: an hour, a day, a correction.
	Append Deliveries = "append"
	// Auto chooses between them by the hours and the accounts of the rows; see replaces.
	Auto Deliveries = "auto"
)

// sameRows is the share of an earlier delivery's rows that a later one must have, by hour and by account, to replace
// it. An export of the month so far has all of them. An export of the next day has none, or a few late ones. An export
// of another account has none. From the share fewRows on a warning is logged.
const (
	replaceShare = 0.5
	warnShare    = 0.1
)

// incompleteShare is the share of the rows below which a replacement is probably incomplete.
const incompleteShare = 0.5

// delivery is a set of files that were written at one time.
type delivery struct {
	name  string
	at    time.Time
	files []string
	// manifest is the provider's list of files, if there is one. missing are listed files that do not exist.
	manifest string
	missing  []string
	// rewritten means that a file is newer than the manifest. The manifest then belongs to the delivery before.
	rewritten bool
}

// accepted is a delivery that counts.
type accepted struct {
	name   string
	at     time.Time
	sheets []Sheet
}

// wait returns why a delivery does not count yet. With a manifest it is an error if files are still missing after the
// delivery has been unchanged for long enough.
func (d delivery) wait(now time.Time, settle time.Duration) (reason string, err error) {
	switch settled := settle <= 0 || now.Sub(d.at) >= settle; {
	case len(d.missing) > 0 && settled:
		return "", fmt.Errorf("delivery %s: %s lists %d files that are not there, such as %s; the delivery before it counts", d.name, d.manifest, len(d.missing), d.missing[0])
	case len(d.missing) > 0:
		return fmt.Sprintf("%s lists %d files that are not there yet", d.manifest, len(d.missing)), nil
	case settled:
	case d.manifest == "":
		return "it was written a short time ago, and more parts may come", nil
	case d.rewritten:
		return "its files are newer than " + d.manifest + ", and more of them may come", nil
	}
	return "", nil
}

// list returns the deliveries, and the names of files that are neither bills nor manifests.
func (l *Ledger) list(ctx context.Context) (all []delivery, others []string, err error) {
	byName := make(map[string]*delivery)
	written, manifests := make(map[string]time.Time), make(map[string]time.Time)
	n := 0
	err = l.bucket.IterWithAttributes(ctx, "", func(attrs objstore.IterObjectAttributes) error {
		if hidden(attrs.Name) {
			return nil
		}
		isManifest := manifestName(attrs.Name)
		if !readable(attrs.Name) && !isManifest {
			others = append(others[:min(len(others), maxFiles)], attrs.Name)
			return nil
		}
		if n++; n > maxFiles {
			return fmt.Errorf("there are more than %d files", maxFiles)
		}
		modified, ok := attrs.LastModified()
		if !ok {
			a, err := l.bucket.Attributes(ctx, attrs.Name)
			if err != nil {
				return err
			}
			modified = a.LastModified
		}
		if isManifest {
			manifests[attrs.Name] = modified
			return nil
		}
		name := path.Dir(attrs.Name)
		if l.Grouping == ByFile {
			name = attrs.Name
		}
		d := byName[name]
		if d == nil {
			d = &delivery{name: name}
			byName[name] = d
		}
		d.files = append(d.files, attrs.Name)
		written[attrs.Name] = modified
		if modified.After(d.at) {
			d.at = modified
		}
		return nil
	}, objstore.WithRecursiveIter(), objstore.WithUpdatedAt())
	if err != nil {
		return nil, nil, err
	}
	if l.Grouping == ByFolder {
		if err := l.applyManifests(ctx, byName, written, manifests); err != nil {
			return nil, nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		slices.Sort(byName[name].files)
		all = append(all, *byName[name])
	}
	return all, others, nil
}

// replaces reports whether a delivery has the same charges of a period as an earlier one, and whether this is unsure.
func (l *Ledger) replaces(later, earlier Coverage) (yes, unsure bool) {
	switch {
	case l.Deliveries == Replace:
		return true, false
	case l.Deliveries == Append, !later.Charges: // A delivery that has only corrections and credits is not an export of the month so far.
		return false, false
	}
	share := earlier.shared(later)
	return share >= replaceShare, share >= warnShare && share < replaceShare
}

// combine takes the rows of each billing period from the deliveries that count for it.
func (l *Ledger) combine() Bill {
	deliveries := slices.SortedFunc(maps.Values(l.accepted), func(a, b accepted) int {
		return cmp.Or(a.at.Compare(b.at), strings.Compare(a.name, b.name))
	})
	// counting are the deliveries that count for a period, by their index.
	counting := make(map[time.Time]map[int]Coverage)
	for i, later := range deliveries {
		for period, c := range later.periods() {
			if counting[period] == nil {
				counting[period] = make(map[int]Coverage)
			}
			for j, before := range counting[period] {
				replaces, unsure := l.replaces(c, before)
				if replaces {
					delete(counting[period], j)
				}
				if unsure || replaces && (float64(c.Rows) < incompleteShare*float64(before.Rows) || before.shared(c) < replaceShare) {
					l.warn(later, deliveries[j], period, c, before, replaces)
				}
			}
			counting[period][i] = c
		}
	}
	var b Bill
	newest := newestTotals(deliveries)
	for i, d := range deliveries {
		for j, sheet := range d.sheets {
			b.Files++
			counts := len(sheet.Lines) == 0
			for _, line := range sheet.Lines {
				_, ok := counting[line.Period][i]
				if line.Total != 0 {
					ok = newest[totalRow{line.Period, line.Total}] == position{i, j}
				}
				if ok {
					counts = true
					b.Lines = append(b.Lines, line)
				}
			}
			if !counts {
				continue // Its problems do not matter, because it does not count.
			}
			b.Rows, b.Rejected, b.UnreadTags = b.Rows+sheet.Rows, b.Rejected+sheet.Rejected, b.UnreadTags+sheet.UnreadTags
			b.Problems = append(b.Problems, sheet.Problems...)
			if sheet.Through.After(b.Through) {
				b.Through = sheet.Through
			}
		}
	}
	return b
}

// periods is the coverage of all files of a delivery.
func (a accepted) periods() map[time.Time]Coverage {
	all := make(map[time.Time]Coverage)
	for _, s := range a.sheets {
		for period, c := range s.Periods {
			all[period] = all[period].plus(c)
		}
	}
	return all
}

// warn logs once if a delivery has far fewer rows than the one that it replaces, or if it is added to another and has
// some of the same rows.
func (l *Ledger) warn(later, earlier accepted, period time.Time, now, before Coverage, replaces bool) {
	key := fmt.Sprint(later.name, later.at, earlier.name, earlier.at, period)
	if l.warned[key] {
		return
	}
	if len(l.warned) > maxFiles {
		clear(l.warned)
	}
	l.warned[key] = true
	log := l.Logger.With("delivery", later.name, "rows", now.Rows, "hours", len(now.Hours), "earlier", earlier.name, "its_rows", before.Rows,
		"its_hours", len(before.Hours), "billing_period", period.Format("2006-01"))
	if replaces {
		log.Warn("A delivery of bills has far less than the one that it replaces; where deliveries hold what is new alone, set deliveries: append")
		return
	}
	log.Warn("A delivery of bills has a part of what an earlier one has, and is added to it; where deliveries hold the month so far, set deliveries: replace")
}
