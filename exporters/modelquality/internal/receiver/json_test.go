package receiver

import (
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// bombs are short JSON texts that become many objects: the text before the elements, one element, and the text after them.
var bombs = map[string][3]string{
	"resources":               {`{"resourceSpans":[`, `{}`, `]}`},
	"scopes":                  {`{"resourceSpans":[{"scopeSpans":[`, `{}`, `]}]}`},
	"spans":                   {`{"resourceSpans":[{"scopeSpans":[{"spans":[`, `{}`, `]}]}]}`},
	"spans that are null":     {`{"resourceSpans":[{"scopeSpans":[{"spans":[`, `null`, `]}]}]}`},
	"events":                  {`{"resourceSpans":[{"scopeSpans":[{"spans":[{"events":[`, `{}`, `]}]}]}]}`},
	"links":                   {`{"resourceSpans":[{"scopeSpans":[{"spans":[{"links":[`, `{}`, `]}]}]}]}`},
	"attributes":              {`{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[`, `{}`, `]}]}]}]}`},
	"values of an array":      {`{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"value":{"arrayValue":{"values":[`, `{}`, `]}}}]}]}]}]}`},
	"values of a map":         {`{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"value":{"kvlistValue":{"values":[`, `{}`, `]}}}]}]}]}]}`},
	"entities":                {`{"resourceSpans":[{"resource":{"entityRefs":[`, `{}`, `]}}]}`},
	"spans after odd strings": {`{"x":"]}\"\\","resourceSpans":[{"scopeSpans":[{"spans":[`, `{}`, `]}]}]}`},
	"arrays of one each":      {`{"resourceSpans":[`, `{"scopeSpans":[{"spans":[{}]}]}`, `]}`},
}

func bomb(parts [3]string, size int) string {
	return parts[0] + strings.Repeat(parts[1]+",", size/(len(parts[1])+1)) + parts[1] + parts[2]
}

func TestJSONBombIsRefusedBeforeDecoding(t *testing.T) {
	const limit = 16 << 20
	for name, parts := range bombs {
		t.Run(name, func(t *testing.T) {
			s := serve(t, handler(decode), func(o *Options) { o.MaxRequestBytes, o.MaxJSONMemory = limit, 64<<20 })
			body := bomb(parts, limit-1024)
			before := allocated()
			answer, message := s.post(http.MethodPost, "/v1/traces", typeJSON, strings.NewReader(body))
			require.Equal(t, http.StatusRequestEntityTooLarge, answer.StatusCode)
			require.Contains(t, string(message), "send smaller batches, or protobuf")
			require.Less(t, allocated()-before, int64(8*limit), "the body and no object of it")
		})
	}
	t.Run("values deep in one another", func(t *testing.T) {
		s := serve(t, handler(decode), func(o *Options) { o.MaxRequestBytes = limit })
		answer, message := s.post(http.MethodPost, "/v1/traces", typeJSON, strings.NewReader(strings.Repeat(`{"a":[`, 100_000)))
		require.Equal(t, http.StatusBadRequest, answer.StatusCode)
		require.Contains(t, string(message), "more than 512 levels")
	})
}

func allocated() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.TotalAlloc)
}

// Accepted requests stay within the documented budget: twice max_json_memory, because the garbage collector lets the heap double.
func TestJSONMemoryStaysWithinItsBudget(t *testing.T) {
	const budget = 32 << 20
	for name, parts := range bombs {
		if name == "arrays of one each" && testing.Short() {
			continue
		}
		elements := 0
		for size := 1 << 10; ; size += 8 << 10 {
			body := bomb(parts, size)
			n, err := countElements([]byte(body))
			require.NoError(t, err)
			if 2*int64(len(body))+n*elementBytes > budget {
				break
			}
			elements = size
		}
		body := []byte(bomb(parts, elements))
		debug.FreeOSMemory()
		before := allocated()
		_, err := decodeJSON(Traces, body)
		require.NoError(t, err)
		require.Less(t, allocated()-before, int64(budget), "%s: all that is allocated, the garbage too", name)
	}
}

func TestRequestsInJSONShareTheirMemory(t *testing.T) {
	const budget = 16 << 20
	s := serve(t, handler(decode), func(o *Options) {
		o.MaxRequestBytes, o.MaxJSONMemory, o.MaxRequests = 4<<20, budget, 16
		o.Patience = Timeouts{10 * time.Second, 20 * time.Millisecond}
	})
	body := bomb(bombs["spans"], 120<<10) // 13 MB of memory
	require.NoError(t, s.json.Acquire(t.Context(), budget/2))
	answer, message := s.post(http.MethodPost, "/v1/traces", typeJSON, strings.NewReader(body))
	require.Equal(t, http.StatusTooManyRequests, answer.StatusCode, "another one has the memory")
	require.Contains(t, string(message), "otlp.max_json_memory")
	require.Equal(t, "1", answer.Header.Get("Retry-After"))
	s.json.Release(budget / 2)
	var peak int64
	done := make(chan struct{})
	var clients sync.WaitGroup
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before := int64(m.HeapInuse)
	for range 8 {
		clients.Go(func() {
			for range 5 {
				s.post(http.MethodPost, "/v1/traces", typeJSON, strings.NewReader(body))
			}
		})
	}
	go func() {
		clients.Wait()
		close(done)
	}()
	for watching := true; watching; {
		select {
		case <-done:
			watching = false
		case <-time.After(time.Millisecond):
			runtime.ReadMemStats(&m)
			peak = max(peak, int64(m.HeapInuse)-before)
		}
	}
	t.Logf("8 clients with %d bytes of JSON each at a time: the heap grew by %d MiB", len(body), peak>>20)
	require.Less(t, peak, int64(2*budget+16<<20))
	answer, _ = s.post(http.MethodPost, "/v1/traces", typeJSON, strings.NewReader(body))
	require.Equal(t, http.StatusOK, answer.StatusCode, "the memory is given back")
}
