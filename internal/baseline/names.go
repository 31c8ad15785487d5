package baseline

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Part is a part of a baseline that can be reset.
type Part string

const (
	// PartDefinition is the bins, and all counts made with them.
	PartDefinition Part = "definition"
	// PartTraining is the counts of the training data.
	PartTraining Part = "training"
	// PartProduction is the production days and the frozen sum.
	PartProduction Part = "production"
	// PartLastGood is the last good snapshot.
	PartLastGood Part = "last_good"
)

// Kinds of objects, as in their envelopes.
const (
	kindDefinition = "definition"
	kindTraining   = "training"
	kindDay        = "day"
	kindHours      = "hours"
	kindFrozen     = "frozen"
	kindReset      = "reset"
	kindLastGood   = "last_good"
	kindOutline    = "outline"
	kindRefined    = "refined"
	kindAccepted   = "accepted"
)

// An object is named <stem>.json in a folder and <stem>.<candidate>.json in an object store. Other files, such as temporary ones, are
// not objects.
var resetStem = regexp.MustCompile(`^reset-([0-9]{5,9})-(definition|training|production|last_good)$`)

var kinds = []string{kindDefinition, kindTraining, kindDay, kindHours, kindFrozen, kindReset, kindLastGood, kindOutline, kindRefined, kindAccepted}

// stemOf returns the stem of a name such as day-00000-0123456789ab-2026-01-05.0123456789abcdef.json. A listing has about a hundred
// names and runs at every profile. A regular expression would take longer than the rest of the processing.
func stemOf(name string) (stem string, ok bool) {
	const digits, letters = "0123456789", "abcdefghijklmnopqrstuvwxyz"
	of := func(text, alphabet string) bool { return text != "" && strings.Trim(text, alphabet) == "" }
	stem, ok = strings.CutSuffix(name, ".json")
	if !ok {
		return "", false
	}
	stem, candidate, several := strings.Cut(stem, ".")
	if several && (len(candidate) != 16 || !of(candidate, digits+"abcdef")) {
		return "", false
	}
	kind, rest, _ := strings.Cut(stem, "-")
	number, more, longer := strings.Cut(rest, "-")
	if !slices.Contains(kinds, kind) || len(number) < 5 || len(number) > 9 || !of(number, digits) || longer && !of(more, letters+digits+"_-") {
		return "", false
	}
	return stem, true
}

// generations are the numbers of the last resets, by part.
type generations map[Part]int

// add records a reset.
func (g generations) add(stem string) {
	if !strings.HasPrefix(stem, kindReset) {
		return
	}
	m := resetStem.FindStringSubmatch(stem)
	if m == nil {
		return
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return
	}
	parts := []Part{Part(m[2])}
	if parts[0] == PartDefinition {
		parts = append(parts, PartTraining, PartProduction)
	}
	for _, p := range parts {
		g[p] = max(g[p], n)
	}
}

// next returns the number of the next reset.
func (g generations) next() int {
	n := 0
	for _, of := range g {
		n = max(n, of)
	}
	return n + 1
}

func (g generations) definition() string { return fmt.Sprintf("definition-%05d", g[PartDefinition]) }
func (g generations) lastGood() string   { return fmt.Sprintf("last_good-%05d", g[PartLastGood]) }

// The stems of counts contain the first 48 bits of the definition's checksum.
func (g generations) training(definition string) string {
	return fmt.Sprintf("training-%05d-%.12s", g[PartTraining], definition)
}

func (g generations) frozen(definition string) string {
	return fmt.Sprintf("frozen-%05d-%.12s", g[PartProduction], definition)
}

// refined belongs to the production days that its bins were chosen from. New production days get new bins.
func (g generations) refined(definition string) string {
	return fmt.Sprintf("refined-%05d-%.12s", g[PartProduction], definition)
}

func (g generations) outline(definition string, d Day) string {
	return fmt.Sprintf("outline-%05d-%.12s-%s", g[PartProduction], definition, d)
}

// accepted returns a prefix, which is followed by a number.
func (g generations) accepted(definition string) string {
	return fmt.Sprintf("accepted-%05d-%.12s-", g[PartDefinition], definition)
}

func (g generations) day(definition string, d Day) string {
	return fmt.Sprintf("day-%05d-%.12s-%s", g[PartProduction], definition, d)
}

func (g generations) hours(definition string, d Day) string {
	return fmt.Sprintf("hours-%05d-%.12s-%s", g[PartProduction], definition, d)
}

// maxSegment keeps a path segment below the 255 bytes of filesystems, and a full key below the 1024 bytes of object stores.
const maxSegment = 160

// escape converts any text to a path segment; different texts get different segments. Lower-case letters, digits, "_", "-", and dots
// that are not the first character are kept. Every other byte is written like "=2f". Upper case is escaped, because some filesystems
// ignore case. A text that would be too long is cut and ends in "==" and a hash of the full text.
func escape(text string) string {
	var b strings.Builder
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '_', c == '-', c == '.' && i > 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "=%02x", c)
		}
	}
	s := b.String()
	if s == "" {
		return "="
	}
	if len(s) <= maxSegment {
		return s
	}
	sum := sha256.Sum256([]byte(text))
	return s[:maxSegment-2-hex.EncodedLen(len(sum))] + "==" + hex.EncodeToString(sum[:])
}

// unescape is the inverse of escape. ok is false if escape cut the text or cannot have produced the segment.
func unescape(segment string) (text string, ok bool) {
	var b strings.Builder
	for rest := segment; rest != "" && segment != "="; {
		if rest[0] != '=' {
			b.WriteByte(rest[0])
			rest = rest[1:]
			continue
		}
		if len(rest) < 3 {
			return "", false
		}
		c, err := strconv.ParseUint(rest[1:3], 16, 8)
		if err != nil {
			return "", false
		}
		b.WriteByte(byte(c))
		rest = rest[3:]
	}
	text = b.String()
	return text, escape(text) == segment
}
