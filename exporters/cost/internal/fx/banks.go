package fx

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// URLs of the banks' services.
const (
	DefaultValetURL = "https://www.bankofcanada.ca/valet"
	DefaultECBURL   = "https://www.ecb.europa.eu/stats/eurofxref"
)

// maxAnswer bounds a response. The complete history of the ECB since 1999 has 8 MB.
const maxAnswer = 32 << 20

// bank queries the rates of currencies from a day on. Rates that the bank does not have are left out.
type bank interface {
	rates(ctx context.Context, currencies []string, from time.Time) ([]Rate, error)
}

// valet is the Bank of Canada's web service: https://www.bankofcanada.ca/valet/docs.
type valet struct {
	client *http.Client
	base   string
}

// rates implements bank. The bank has series for about twenty currencies. A series that it does not have would fail the
// complete request, so each currency has its own request.
func (v valet) rates(ctx context.Context, currencies []string, from time.Time) ([]Rate, error) {
	var all []Rate
	for _, currency := range currencies {
		address := fmt.Sprintf("%s/observations/FX%sCAD/json?%s", v.base, currency, url.Values{"start_date": {from.Format(dayFormat)}}.Encode())
		body, err := get(ctx, v.client, address)
		if notFound := new(statusError); errors.As(err, &notFound) && notFound.code == http.StatusNotFound {
			continue // The other bank may have it.
		}
		if err != nil {
			return nil, fmt.Errorf("ask the Bank of Canada: %w", err)
		}
		rates, err := parseValet(body, currency)
		if err != nil {
			return nil, fmt.Errorf("ask the Bank of Canada: %s: %w", address, err)
		}
		all = append(all, rates...)
	}
	return all, nil
}

// parseValet reads a response. Each observation has a day d and, under the name of the series, the value v as text, in
// Canadian dollars for one unit. On a day without a value the bank was closed.
func parseValet(body []byte, currency string) ([]Rate, error) {
	var answer struct {
		Observations []map[string]json.RawMessage `json:"observations"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("expected JSON with observations: %w", err)
	}
	series := "FX" + currency + CAD
	var rates []Rate
	for i, o := range answer.Observations {
		var day string
		if err := json.Unmarshal(o["d"], &day); err != nil {
			return nil, fmt.Errorf("observations[%d].d: is %s, expected a day", i, o["d"])
		}
		var value struct {
			V string `json:"v"`
		}
		if o[series] == nil {
			continue
		}
		if err := json.Unmarshal(o[series], &value); err != nil {
			return nil, fmt.Errorf("observations[%d].%s: is %s, expected {\"v\": text}", i, series, o[series])
		}
		if value.V == "" {
			continue
		}
		rate, err := newRate(currency, day, value.V, BankOfCanada)
		if err != nil {
			return nil, fmt.Errorf("observations[%d].%s: %w", i, series, err)
		}
		rates = append(rates, rate)
	}
	return rates, nil
}

func newRate(currency, day, value, source string) (Rate, error) {
	d, err := time.Parse(dayFormat, day)
	if err != nil {
		return Rate{}, fmt.Errorf("day is %q, expected one like 2026-01-31", day)
	}
	v, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return Rate{}, fmt.Errorf("value is %q, expected a number", value)
	}
	r := Rate{Currency: currency, Day: d, CAD: v, Source: source}
	return r, r.valid()
}

// ecb is the European Central Bank's reference rates, units of each currency for one euro:
// https://www.ecb.europa.eu/stats/policy_and_exchange_rates/euro_reference_exchange_rates.
type ecb struct {
	client *http.Client
	base   string
	now    func() time.Time
}

// recent is the age of the oldest day in the smaller of the bank's two histories.
const recent = 85 * 24 * time.Hour

// rates implements bank.
func (e ecb) rates(ctx context.Context, currencies []string, from time.Time) ([]Rate, error) {
	file := "eurofxref-hist.xml"
	if e.now().Sub(from) < recent {
		file = "eurofxref-hist-90d.xml"
	}
	address := e.base + "/" + file
	body, err := get(ctx, e.client, address)
	if err != nil {
		return nil, fmt.Errorf("ask the European Central Bank: %w", err)
	}
	rates, err := parseECB(body, currencies, from)
	if err != nil {
		return nil, fmt.Errorf("ask the European Central Bank: %s: %w", address, err)
	}
	return rates, nil
}

// parseECB reads the history and crosses it through the euro: the Canadian dollars of a euro divided by the other
// currency's units of a euro.
func parseECB(body []byte, currencies []string, from time.Time) ([]Rate, error) {
	var file struct {
		Days []struct {
			Day   string `xml:"time,attr"`
			Rates []struct {
				Currency string `xml:"currency,attr"`
				Rate     string `xml:"rate,attr"`
			} `xml:"Cube"`
		} `xml:"Cube>Cube"`
	}
	decoder := xml.NewDecoder(bytes.NewReader(body))
	if err := decoder.Decode(&file); err != nil {
		return nil, fmt.Errorf("expected XML of reference rates: %w", err)
	}
	var all []Rate
	for _, day := range file.Days {
		euro := map[string]Rate{}
		for _, r := range day.Rates {
			if r.Currency != CAD && !slices.Contains(currencies, r.Currency) {
				continue
			}
			// A rate in the file is the units of the currency for one euro.
			parsed, err := newRate("EUR", day.Day, r.Rate, ECB)
			if err != nil {
				return nil, fmt.Errorf("%s of %s: %w", r.Currency, day.Day, err)
			}
			euro[r.Currency] = parsed
		}
		cad, ok := euro[CAD]
		if !ok || cad.Day.Before(from) {
			continue
		}
		for _, currency := range currencies {
			units := Rate{CAD: 1}
			if currency != "EUR" {
				if units, ok = euro[currency]; !ok {
					continue
				}
			}
			all = append(all, Rate{Currency: currency, Day: cad.Day, CAD: cad.CAD / units.CAD, Source: ECB})
		}
	}
	return all, nil
}

// statusError is a response with a status other than 200.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string { return e.text }

func get(ctx context.Context, client *http.Client, address string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", address, err)
	case response.StatusCode != http.StatusOK:
		return nil, &statusError{response.StatusCode, fmt.Sprintf("%s: %s: %.200s", address, response.Status, strings.TrimSpace(string(body)))}
	case len(body) > maxAnswer:
		return nil, fmt.Errorf("%s: the answer is larger than %d bytes", address, maxAnswer)
	}
	return body, nil
}
