package metering

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/stretchr/testify/require"
)

// The child counts a made-up time that runs fast: a step of a minute goes by in a few milliseconds.
const (
	childFile, childServer, childBegan = "METERING_FILE", "METERING_SERVER", "METERING_BEGAN"

	childStep  = time.Minute
	childSpeed = 6000
)

// published has the published counters of the child.
type published struct {
	Through time.Time
	Idle    float64
}

func TestMain(m *testing.M) {
	if file := os.Getenv(childFile); file != "" {
		if err := child(file); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// child meters until it is killed, and writes what it publishes.
func child(file string) error {
	nanoseconds, err := strconv.ParseInt(os.Getenv(childBegan), 10, 64)
	if err != nil {
		return err
	}
	began := time.Unix(0, nanoseconds)
	client, err := api.NewClient(api.Config{Address: os.Getenv(childServer)})
	if err != nil {
		return err
	}
	now := func() time.Time { return noon.Add(childSpeed * time.Since(began)) }
	o, err := optionsFor(file, now, Prometheus{API: v1.NewAPI(client), Timeout: 5 * time.Second})
	if err != nil {
		return err
	}
	o.Step, o.Lag, o.CatchUp = childStep, childStep/2, 365*24*time.Hour
	m, err := Open(o)
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	for {
		// An outage of Prometheus is no reason to stop.
		_ = m.Cycle(context.Background())
		samples, through := m.Samples()
		for _, s := range samples {
			if s.Counter == Idle {
				if err := out.Encode(published{through, s.Sum}); err != nil {
					return err
				}
			}
		}
	}
}

// busy returns the busy share of the stub's GPU in the step that ends at a time. The shares are dyadic, so that their sum is exact.
func busy(end time.Time) float64 { return float64(end.Unix()/60%16) / 16 }

// stub answers as Prometheus does. Every few requests it is down.
func stub(t *testing.T) *httptest.Server {
	t.Helper()
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1)%97 == 0 {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		seconds, err := strconv.ParseFloat(r.FormValue("time"), 64)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		end, query := time.Unix(int64(math.Round(seconds)), 0), r.FormValue("query")
		result := ""
		switch {
		case strings.Contains(query, "up["):
			result = fmt.Sprintf(`{"metric":{},"value":[%v,"1"]}`, seconds)
		case strings.Contains(query, "gpu:gpu_utilization"):
			result = fmt.Sprintf(`{"metric":{"instance":"n1:10910","uuid":"a"},"value":[%v,"%v"]}`, seconds, busy(end))
		case strings.Contains(query, "gpu_info["):
			result = fmt.Sprintf(`{"metric":{"instance":"n1:10910","uuid":"a","name":"H100"},"value":[%v,"1"]}`, seconds)
		}
		if strings.Contains(query, "gpu_allocation_info") {
			result = ""
		}
		_, _ = io.WriteString(w, `{"status":"success","data":{"resultType":"vector","result":[`+result+`]}}`)
	}))
	t.Cleanup(server.Close)
	return server
}

func TestRandomKillsLoseAndDuplicateNothing(t *testing.T) {
	kills := 200
	if testing.Short() {
		kills = 20
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 2))
	server, file, began := stub(t), filepath.Join(t.TempDir(), "spend.json"), time.Now()
	start := noon.Add(-childStep / 2).Truncate(childStep)

	// exact is the integral from the first start of counting to a time.
	var first time.Time
	exact := func(through time.Time) float64 {
		sum := 0.0
		for end := first.Add(childStep); !end.After(through); end = end.Add(childStep) {
			sum += 4 * childStep.Hours() * (1 - busy(end))
		}
		return sum
	}
	var last published
	seen, wrote := 0, 0
	for kill := range kills {
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), childFile+"="+file, childServer+"="+server.URL, fmt.Sprintf("%s=%d", childBegan, began.UnixNano()))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		// Most die at work, which begins later on a slow machine, and some before it.
		work := time.Duration(r.IntN(120)) * time.Millisecond
		timer := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
		if r.IntN(8) == 0 {
			timer.Reset(work)
		}
		working, before := false, seen
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			var p published
			if json.Unmarshal(lines.Bytes(), &p) != nil {
				continue // cut off by the kill
			}
			if !working {
				working = true
				timer.Reset(work)
			}
			if first.IsZero() {
				// The file says where counting began: at the first start, which the kill may have come before.
				first = start
				for math.Abs(exact(p.Through)-p.Idle) > 1e-9 && first.Before(p.Through) {
					first = first.Add(childStep)
				}
				require.True(t, first.Before(p.Through), "%v is no integral", p)
			}
			require.GreaterOrEqual(t, p.Idle, last.Idle, "kill %d: a counter fell", kill)
			require.False(t, p.Through.Before(last.Through), "kill %d: time went back", kill)
			require.InDelta(t, exact(p.Through), p.Idle, 1e-6, "kill %d: at %s", kill, p.Through)
			if p != last {
				seen++
			}
			last = p
		}
		timer.Stop()
		_ = cmd.Process.Kill()
		require.EqualError(t, cmd.Wait(), "signal: killed", "the child must not end by itself")
		if seen > before {
			wrote++
		}
	}
	t.Logf("%d kills, %d of them of a child that had published; %d values up to %s; C$ %.4f, exactly C$ %.4f",
		kills, wrote, seen, last.Through.Format(time.RFC3339), last.Idle, exact(last.Through))
	require.Greater(t, wrote, kills/4, "the kills must come while it works")
	require.Less(t, noon.Add(childSpeed*time.Since(began)).Sub(last.Through), 365*24*time.Hour)
	litter, err := filepath.Glob(file + ".*.tmp")
	require.NoError(t, err)
	require.LessOrEqual(t, len(litter), 1, "each start removes what the kill before left")
}
