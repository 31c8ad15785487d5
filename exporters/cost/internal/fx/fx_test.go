package fx

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/require"
)

func day(s string) time.Time {
	d, err := time.Parse(dayFormat, s)
	if err != nil {
		panic(err)
	}
	return d
}

func usd(d string, rate float64) Rate {
	return Rate{Currency: "USD", Day: day(d), CAD: rate, Source: BankOfCanada}
}

func TestTheRateIsTheLastOnOrBeforeTheDay(t *testing.T) {
	t.Parallel()
	book := NewBook([]Rate{
		usd("2026-03-06", 1.3581), usd("2026-03-09", 1.3702), // a weekend between them
		{Currency: "USD", Day: day("2026-03-09"), CAD: 1.3703, Source: ECB},
	}, map[string]float64{"CHF": 1.6, "USD": 1.3})
	for name, tc := range map[string]struct {
		currency, instant string
		want              float64
	}{
		"on the day":                                 {"USD", "2026-03-06T00:00:00Z", 1.3581},
		"late on the day":                            {"USD", "2026-03-06T23:59:59Z", 1.3581},
		"at the weekend":                             {"USD", "2026-03-08T12:00:00Z", 1.3581},
		"of two sources the better one":              {"USD", "2026-03-09T01:00:00Z", 1.3702},
		"an evening in Toronto is the next UTC day":  {"USD", "2026-03-08T20:30:00-04:00", 1.3702},
		"before the first a fixed rate":              {"USD", "2026-03-05T00:00:00Z", 1.3},
		"ten days after the last":                    {"USD", "2026-03-19T00:00:00Z", 1.3702},
		"later it is no rate of that day":            {"USD", "2026-03-20T00:00:00Z", 1.3},
		"a currency that only the configuration has": {"CHF", "2026-03-20T00:00:00Z", 1.6},
		"Canadian dollars":                           {"CAD", "1999-01-01T00:00:00Z", 1},
		"nothing known":                              {"SEK", "2026-03-20T00:00:00Z", 0},
	} {
		t.Run(name, func(t *testing.T) {
			instant, err := time.Parse(time.RFC3339, tc.instant)
			require.NoError(t, err)
			rate, ok := book.At(tc.currency, instant)
			require.Equal(t, tc.want, rate.CAD)
			require.Equal(t, tc.want > 0, ok)
		})
	}
}

func TestRatesOfSpansCoverEveryDay(t *testing.T) {
	t.Parallel()
	book := NewBook([]Rate{usd("2026-01-05", 1.37), usd("2026-01-06", 1.38), usd("2026-02-20", 1.36)}, map[string]float64{"USD": 1.3, "CHF": 1.6})
	spans := book.Spans()
	for _, currency := range []string{"USD", "CHF", "SEK"} {
		for d := day("2025-12-20"); d.Before(day("2026-03-20")); d = d.Add(24 * time.Hour) {
			var got []float64
			for _, s := range spans {
				if s.Currency == currency && !d.Before(s.From) && d.Before(s.To) {
					got = append(got, s.CAD)
				}
			}
			want, ok := book.At(currency, d)
			if !ok {
				require.Empty(t, got, "%s on %s", currency, d)
				continue
			}
			require.Equal(t, []float64{want.CAD}, got, "%s on %s", currency, d)
		}
	}
}

func TestRecordedAnswersAreRead(t *testing.T) {
	t.Parallel()
	body, err := os.ReadFile("testdata/valet_usd.json")
	require.NoError(t, err)
	rates, err := parseValet(body, "USD")
	require.NoError(t, err)
	require.Equal(t, []Rate{usd("2026-03-06", 1.3581), usd("2026-03-05", 1.36), usd("2026-03-09", 1.3702)}, rates)

	body, err = os.ReadFile("testdata/ecb.xml")
	require.NoError(t, err)
	rates, err = parseECB(body, []string{"USD", "EUR", "JPY", "SEK"}, day("2026-03-07"))
	require.NoError(t, err)
	require.Len(t, rates, 3, "of one day, without the currency that it does not have")
	require.InDelta(t, 1.5005/1.0950, rates[0].CAD, 1e-12)
	require.Equal(t, 1.5005, rates[1].CAD)
	require.InDelta(t, 1.5005/160, rates[2].CAD, 1e-12)
}

func TestInvalidAnswersOfBanksAreReported(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`<html>`:                     "expected JSON with observations",
		`{"observations":[{"d":5}]}`: "observations[0].d: is 5, expected a day",
		`{"observations":[{"d":"2026-01-05","FXUSDCAD":7}]}`:            `observations[0].FXUSDCAD: is 7, expected {"v": text}`,
		`{"observations":[{"d":"5 May","FXUSDCAD":{"v":"1"}}]}`:         `observations[0].FXUSDCAD: day is "5 May", expected one like 2026-01-31`,
		`{"observations":[{"d":"2026-01-05","FXUSDCAD":{"v":"1,36"}}]}`: `value is "1,36", expected a number`,
		`{"observations":[{"d":"2026-01-05","FXUSDCAD":{"v":"0"}}]}`:    `rate of USD is 0, expected a positive number`,
		`{"observations":[{"d":"2026-01-05","FXUSDCAD":{"v":"Inf"}}]}`:  `rate of USD is +Inf, expected a positive number`,
	} {
		_, err := parseValet([]byte(body), "USD")
		require.ErrorContains(t, err, want, body)
	}
	_, err := parseECB([]byte(`<a><Cube><Cube time="2026-01-05"><Cube currency="CAD" rate="x"/></Cube></Cube></a>`), []string{"USD"}, time.Time{})
	require.ErrorContains(t, err, `CAD of 2026-01-05: value is "x", expected a number`)
	_, err = parseECB([]byte(`{`), nil, time.Time{})
	require.ErrorContains(t, err, "expected XML of reference rates")
}

func FuzzAnswers(f *testing.F) {
	for _, name := range []string{"testdata/valet_usd.json", "testdata/ecb.xml"} {
		body, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		valet, _ := parseValet(body, "USD")
		ecb, _ := parseECB(body, []string{"USD", "EUR"}, time.Time{})
		for _, r := range append(valet, ecb...) {
			if !(r.CAD > 0) {
				t.Errorf("%v is no rate", r)
			}
		}
	})
}

// banks are both banks at an HTTP server, with a rate of the US dollar by day.
type twoBanks struct {
	valet, euro map[string]float64 // CAD for one USD; CAD for one EUR, of which a dollar is 1.1
	down        map[string]bool
	asked       []string
}

func (b *twoBanks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	b.asked = append(b.asked, name)
	switch {
	case b.down[name]:
		http.Error(w, "maintenance", http.StatusServiceUnavailable)
	case name == "valet" && !strings.Contains(rest, "FXUSDCAD"):
		http.Error(w, "no such series", http.StatusNotFound)
	case name == "valet":
		var o []string
		for d, v := range b.valet {
			if d >= r.FormValue("start_date") {
				o = append(o, fmt.Sprintf(`{"d":%q,"FXUSDCAD":{"v":"%g"}}`, d, v))
			}
		}
		_, _ = fmt.Fprintf(w, `{"observations":[%s]}`, strings.Join(o, ","))
	default:
		_, _ = fmt.Fprint(w, "<E><Cube>")
		for d, v := range b.euro {
			_, _ = fmt.Fprintf(w, `<Cube time=%q><Cube currency="USD" rate="1.1"/><Cube currency="CAD" rate="%g"/></Cube>`, d, v)
		}
		_, _ = fmt.Fprint(w, "</Cube></E>")
	}
}

func newKeeper(t *testing.T, b *twoBanks, file string, change func(*Options)) *Keeper {
	t.Helper()
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	o := Options{
		Currencies: []string{"USD"}, From: day("2026-03-01"), File: file, Online: true, Client: server.Client(),
		ValetURL: server.URL + "/valet", ECBURL: server.URL + "/ecb",
		Now: func() time.Time { return day("2026-03-10") }, Logger: promslog.NewNopLogger(),
	}
	if change != nil {
		change(&o)
	}
	k, err := Open(o)
	require.NoError(t, err)
	return k
}

func rateAt(k *Keeper, d string) (float64, string) {
	r, _ := k.Book().At("USD", day(d))
	return math.Round(r.CAD*1e4) / 1e4, r.Source
}

func TestSecondBankIsTheFallback(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "fx.json")
	b := &twoBanks{
		valet: map[string]float64{"2026-02-27": 1.35, "2026-03-02": 1.36}, euro: map[string]float64{"2026-03-02": 1.507, "2026-03-03": 1.5},
		down: map[string]bool{"valet": true},
	}
	k := newKeeper(t, b, file, nil)
	require.ErrorContains(t, k.Refresh(context.Background()), "503 Service Unavailable: maintenance")
	rate, source := rateAt(k, "2026-03-02")
	require.Equal(t, 1.37, rate)
	require.Equal(t, ECB, source)

	b.down = nil
	require.NoError(t, k.Refresh(context.Background()))
	rate, source = rateAt(k, "2026-03-02")
	require.Equal(t, 1.36, rate, "the first bank's rate is the better one")
	require.Equal(t, BankOfCanada, source)

	b.down = map[string]bool{"valet": true, "ecb": true}
	again := newKeeper(t, b, file, nil)
	require.Error(t, again.Refresh(context.Background()))
	rate, _ = rateAt(again, "2026-03-02")
	require.Equal(t, 1.36, rate, "without either, the file has it")

	require.NoError(t, os.WriteFile(file, []byte("{}"), 0o600))
	fixed := newKeeper(t, b, file, func(o *Options) { o.Fixed = map[string]float64{"USD": 1.4} })
	rate, source = rateAt(fixed, "2026-03-02")
	require.Equal(t, 1.4, rate, "and without that, the configuration")
	require.Equal(t, Configured, source)
}

func TestJumpOfARateNeedsConfirmationByTheOtherBank(t *testing.T) {
	t.Parallel()
	b := &twoBanks{
		valet: map[string]float64{"2026-03-02": 1.36, "2026-03-03": 13.6, "2026-03-04": 1.37},
		euro:  map[string]float64{"2026-03-02": 1.496, "2026-03-03": 1.496, "2026-03-04": 1.507},
	}
	k := newKeeper(t, b, "", nil)
	require.ErrorContains(t, k.Refresh(context.Background()), "rate of USD on 2026-03-03 is 13.6 in the answer of bank_of_canada, after 1.36 on 2026-03-02: not believed")
	rate, _ := rateAt(k, "2026-03-03")
	require.Equal(t, 1.36, rate)
	rate, _ = rateAt(k, "2026-03-04")
	require.Equal(t, 1.37, rate)
	require.Equal(t, 1.0, k.Rejected())

	b.valet["2026-03-05"], b.euro["2026-03-05"] = 1.6, 1.1*1.61
	require.Error(t, k.Refresh(context.Background()))
	rate, _ = rateAt(k, "2026-03-05")
	require.Equal(t, 1.6, rate, "the other bank says nearly the same")
}

func TestOnlyRecentDaysAreFetchedAgain(t *testing.T) {
	t.Parallel()
	b := &twoBanks{valet: map[string]float64{"2026-02-20": 1.35, "2026-03-09": 1.36}}
	k := newKeeper(t, b, "", nil)
	require.NoError(t, k.Refresh(context.Background()))
	require.Equal(t, day("2026-02-28"), k.firstDay())
	require.Equal(t, []string{"valet"}, b.asked, "the second bank is asked only in need")
	k.Want("SEK", "tokens", "CAD")
	require.Equal(t, []string{"USD", "SEK"}, k.wanted)
	require.Equal(t, day("2026-02-19"), k.firstDay(), "a new currency needs all days")
}
