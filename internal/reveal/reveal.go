// Package reveal says which values of a table may be shown as labels.
//
// Input: patterns of the fields that may be shown as they are, and the bins of a field. Output: the names under which its categories
// are published: as they are where they look like codes, and else a rank and a hash, such as #3~5f1c0a. Prometheus, Grafana and
// Slack keep what they are given, so a name or an address must not get there because it was frequent. State: none.
package reveal

import (
	"crypto/sha256"
	"encoding/hex"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/sightglass-ml/sightglass/internal/binning"
)

// Policy is which fields are shown as they are, by patterns such as city or product_*.
type Policy []string

// hashDigits is the length of the hash. It tells whether a value that somebody has is the one in question. It is short on purpose:
// of all ten-digit numbers six hundred share one, so that it does not lead back to a telephone number.
const hashDigits = 6

// Hidden are the bins of the categories of a field that are not shown as they are, with what is shown in their place; nil is none. A long
// or unprintable category has a bin with another name (binning.CategoryBin).
func (p Policy) Hidden(field string, l binning.Layout) map[string]string {
	if l.Kind != binning.Categorical || slices.ContainsFunc(p, func(pattern string) bool { ok, _ := path.Match(pattern, field); return ok }) {
		return nil
	}
	personal := aboutPeople(field)
	var hidden map[string]string
	for i, category := range l.Top {
		if isCode(category) && (!personal || isShortNumber(category) || isTruth(category)) {
			continue
		}
		if hidden == nil {
			hidden = make(map[string]string)
		}
		sum := sha256.Sum256([]byte(field + "\x00" + category))
		hidden[binning.CategoryBin(category)] = "#" + strconv.Itoa(i+1) + "~" + hex.EncodeToString(sum[:])[:hashDigits]
	}
	return hidden
}

// Name is what is shown of a bin.
func Name(hidden map[string]string, bin string) string {
	if name, ok := hidden[bin]; ok {
		return name
	}
	return bin
}

// maxCode is the longest category that is taken for a code.
const maxCode = 24

var (
	codeShape = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.:/+-]*$`)
	// properName is a word, or several joined by hyphens, in upper and lower case as names of people and places are.
	properName = regexp.MustCompile(`^[A-Z][a-z]+([-.][A-Z]?[a-z]*)*$`)
	postalCode = regexp.MustCompile(`^[A-Za-z][0-9][A-Za-z]-?[0-9][A-Za-z][0-9]$`)
	ipAddress  = regexp.MustCompile(`^[0-9]{1,3}(\.[0-9]{1,3}){3}$|^[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*$`)
	webAddress = regexp.MustCompile(`://|^www\.`)
)

// isCode reports whether a category looks like one of a list that somebody has written down: short, without spaces, and like
// no name, e-mail, telephone number, address or text.
func isCode(s string) bool {
	if s == "" || isTruth(s) || isShortNumber(s) {
		return true
	}
	if len(s) > maxCode || !codeShape.MatchString(s) {
		return false
	}
	digits := 0
	for _, r := range s {
		if unicode.IsDigit(r) {
			digits++
		}
	}
	// Seven digits are a telephone number, a date of birth or the number of a customer.
	return digits < 7 && !properName.MatchString(s) && !postalCode.MatchString(s) && !ipAddress.MatchString(s) && !webAddress.MatchString(s)
}

func isTruth(s string) bool { return s == "true" || s == "false" }

// isShortNumber reports whether a category is a number that identifies nobody by itself.
func isShortNumber(s string) bool {
	v, err := strconv.ParseFloat(s, 64)
	return err == nil && len(strings.TrimLeft(s, "-")) < 7 && v == v
}

// personalWords are parts of the names of columns whose values are about people or free text, in English and French.
var personalWords = map[string]bool{
	"name": true, "names": true, "firstname": true, "lastname": true, "fullname": true, "surname": true, "username": true, "login": true,
	"email": true, "mail": true, "phone": true, "tel": true, "telephone": true, "mobile": true, "fax": true,
	"address": true, "addr": true, "street": true, "postal": true, "postcode": true, "zip": true, "ip": true,
	"birth": true, "birthday": true, "birthdate": true, "dob": true, "ssn": true, "sin": true, "passport": true, "iban": true,
	"comment": true, "comments": true, "note": true, "notes": true, "message": true, "description": true, "remark": true, "remarks": true,
	"text": true, "body": true, "subject": true, "prompt": true, "question": true, "answer": true,
	"nom": true, "prenom": true, "courriel": true, "adresse": true, "rue": true, "naissance": true, "nas": true, "commentaire": true,
}

// aboutPeople reports whether the name of a field says that its values are about people, or text.
func aboutPeople(field string) bool {
	var word strings.Builder
	found := false
	end := func() {
		found = found || personalWords[strings.ToLower(word.String())]
		word.Reset()
	}
	lower := false
	for _, r := range field {
		switch {
		case !unicode.IsLetter(r):
			end()
			lower = false
			continue
		case unicode.IsUpper(r) && lower:
			end() // customerName
		}
		word.WriteRune(r)
		lower = unicode.IsLower(r)
	}
	end()
	return found
}
