package slack

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func newSink(t *testing.T, capacity int) (*Sink, func(body string) (int, string)) {
	t.Helper()
	sink, err := NewSink(capacity)
	require.NoError(t, err)
	srv := httptest.NewServer(sink)
	t.Cleanup(srv.Close)
	return sink, func(body string) (int, string) {
		resp, err := http.Post(srv.URL+"/services/T/B/x", "application/json", strings.NewReader(body))
		require.NoError(t, err)
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(answer)
	}
}

func everything(Message) bool { return true }

func TestSinkAnswersOKToTheByte(t *testing.T) {
	sink, post := newSink(t, 1)
	code, body := post(`{"channel":"#ml-oncall","text":"hello"}`)
	require.Equal(t, 200, code)
	require.Equal(t, "ok", body)
	m, err := sink.Wait(t.Context(), everything)
	require.NoError(t, err)
	require.Equal(t, "/services/T/B/x", m.Path)
	require.Equal(t, "#ml-oncall", m.Channel)
	require.Equal(t, 1, m.Seq)
	require.False(t, m.Received.IsZero())
	require.NoError(t, sink.LastRejection())
}

func TestSinkRefusesInSlacksWords(t *testing.T) {
	sink, post := newSink(t, 1)
	code, body := post(`{}`)
	require.Equal(t, 400, code)
	require.Equal(t, "no_text\n", body)
	require.EqualError(t, sink.LastRejection(), "no_text: neither a text nor an attachment with something to show")
	require.Empty(t, sink.Messages())

	code, body = post(`{"text":"` + strings.Repeat("x", maxBody) + `"}`)
	require.Equal(t, 400, code)
	require.Equal(t, "invalid_payload\n", body)

	recorder := httptest.NewRecorder()
	sink.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/", nil))
	require.Equal(t, http.StatusMethodNotAllowed, recorder.Code)
}

func TestSinkKeepsTheLastMessages(t *testing.T) {
	sink, post := newSink(t, 2)
	for i := range 5 {
		post(fmt.Sprintf(`{"text":"%d"}`, i+1))
	}
	messages := sink.Messages()
	require.Len(t, messages, 2)
	require.Equal(t, "4", messages[0].Text)
	require.Equal(t, 5, messages[1].Seq)
}

func TestWaitReturnsAMessageThatComesLater(t *testing.T) {
	sink, post := newSink(t, 10)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			m, err := sink.Wait(t.Context(), func(m Message) bool { return m.Text == fmt.Sprint(i) })
			if err != nil || m.Text != fmt.Sprint(i) {
				t.Errorf("waited for %d, got %q and %v", i, m.Text, err)
			}
		})
	}
	for i := range 8 {
		post(fmt.Sprintf(`{"text":"%d"}`, i))
	}
	wg.Wait()
}

func TestWaitEndsWithItsContextAndNamesTheLastRejection(t *testing.T) {
	sink, post := newSink(t, 1)
	post(`{}`)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := sink.Wait(ctx, everything)
	require.ErrorIs(t, err, context.Canceled)
	require.EqualError(t, err, "no matching Slack message among 0: context canceled (last rejected: no_text: neither a text nor an attachment with something to show)")
}

func TestASinkThatKeepsNothingIsRefused(t *testing.T) {
	_, err := NewSink(0)
	require.EqualError(t, err, "a sink must keep at least one message, not 0")
}
