// Package reveal decides which values of a table may be published as label values.
//
// Input: patterns of the fields whose values may be published, and the bins of a field. Output: the published names of its categories:
// the category itself if it has the form of a code, else a rank and a hash, such as #3~5f1c0a. Prometheus, Grafana and Slack store what
// they receive, so a frequent name or address must not reach them. State: none.
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

// Policy lists the fields that are published unchanged, as patterns such as city or product_*.
type Policy []string

// hashDigits is the length of the hash. A person who knows a value can check whether it is the one in question. The hash is short on
// purpose: about six hundred of all ten-digit numbers share one hash, so it does not identify a telephone number.
const hashDigits = 6

// Hidden maps the bins of the categories of a field that are not published unchanged to their published names. It returns nil if there
// are none. The bin of a long or unprintable category has another name than the category (binning.CategoryBin).
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

// Name returns the published name of a bin.
func Name(hidden map[string]string, bin string) string {
	if name, ok := hidden[bin]; ok {
		return name
	}
	return bin
}

// maxCode is the maximum length of a category that is classified as a code.
const maxCode = 24

var (
	codeShape = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.:/+-]*$`)
	// properName matches one or several hyphenated words in mixed case, as names of people and places have.
	properName = regexp.MustCompile(`^[A-Z][a-z]+([-.][A-Z]?[a-z]*)*$`)
	postalCode = regexp.MustCompile(`^[A-Za-z][0-9][A-Za-z]-?[0-9][A-Za-z][0-9]$`)
	ipAddress  = regexp.MustCompile(`^[0-9]{1,3}(\.[0-9]{1,3}){3}$|^[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*$`)
	webAddress = regexp.MustCompile(`://|^www\.`)
)

// isCode reports whether a category has the form of a code: short, without spaces, and not like a name, e-mail address, telephone
// number, postal or IP address, or text.
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
	// Seven or more digits can be a telephone number, a date of birth or a customer number.
	return digits < 7 && !properName.MatchString(s) && !postalCode.MatchString(s) && !ipAddress.MatchString(s) && !webAddress.MatchString(s)
}

func isTruth(s string) bool { return s == "true" || s == "false" }

// isShortNumber reports whether a category is a number with too few digits to identify a person.
func isShortNumber(s string) bool {
	v, err := strconv.ParseFloat(s, 64)
	return err == nil && len(strings.TrimLeft(s, "-")) < 7 && v == v
}

// personalWords are words in the names of columns whose values describe people or are free text, in English and French.
var personalWords = map[string]bool{
	"name": true, "names": true, "firstname": true, "lastname": true, "fullname": true, "surname": true, "username": true, "login": true,
	"email": true, "mail": true, "phone": true, "tel": true, "telephone": true, "mobile": true, "fax": true,
	"address": true, "addr": true, "street": true, "postal": true, "postcode": true, "zip": true, "ip": true,
	"birth": true, "birthday": true, "birthdate": true, "dob": true, "ssn": true, "sin": true, "passport": true, "iban": true,
	"comment": true, "comments": true, "note": true, "notes": true, "message": true, "description": true, "remark": true, "remarks": true,
	"text": true, "body": true, "subject": true, "prompt": true, "question": true, "answer": true,
	"nom": true, "prenom": true, "courriel": true, "adresse": true, "rue": true, "naissance": true, "nas": true, "commentaire": true,
}

// aboutPeople reports whether the name of a field suggests that its values describe people or are free text.
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
