package page

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/responder/internal/store/storetest"
)

// screenshots names the variable with the folder for pictures of the pages.
const screenshots = "SIGHTGLASS_SCREENSHOTS"

// browser is a tab of a headless Chromium in which anna is logged in.
type browser struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // chromedp has the tab in it.

	mu sync.Mutex
	// problems are what the page itself complained of: errors of scripts, and what they logged.
	problems []string
}

func (b *browser) complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.problems
}

func newBrowser(t *testing.T, web *site) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if errors.Is(err, exec.ErrNotFound) {
		if os.Getenv("CI") == "true" {
			t.Fatal("chromium is not installed; tools/test-deps.sh installs it")
		}
		t.Skip("chromium is not installed; tools/test-deps.sh installs it")
	}
	require.NoError(t, err)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WindowSize(1100, 900))
	ctx, cancel := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &browser{t: t, ctx: ctx}
	require.NoError(t, chromedp.Listen(ctx, func(event any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			b.problems = append(b.problems, e.ExceptionDetails.Text)
		case *runtime.EventConsoleAPICalled:
			b.problems = append(b.problems, string(e.Type))
		}
	}))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, web.URL, nil)
	require.NoError(t, err)
	r.SetBasicAuth("anna", "secret")
	call(b, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{"Authorization": r.Header.Get("Authorization")}})
	return b
}

func call[P, R any](b *browser, command cdp.Command[P, R], params P) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, command, params)
	require.NoError(b.t, err)
}

func (b *browser) run(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, steps...))
}

// open loads a page. A form that has just been sent may still be loading its answer, which then is aborted.
func (b *browser) open(url string) {
	b.t.Helper()
	var err error
	require.Eventually(b.t, func() bool {
		err = chromedp.Do(b.ctx, chromedp.Navigate(url))
		return err == nil || !strings.Contains(err.Error(), "net::ERR_ABORTED")
	}, 10*time.Second, 100*time.Millisecond)
	require.NoError(b.t, err)
}

func (b *browser) theme(name string, width int64) {
	b.t.Helper()
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}})
	b.run(chromedp.EmulateViewport(width, 900))
}

// eval returns the result of an expression in the page.
func eval[T any](b *browser, expression string) T {
	b.t.Helper()
	value, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	require.NoError(b.t, err, expression)
	return value
}

func (b *browser) text() string { b.t.Helper(); return eval[string](b, "document.body.innerText") }

// await polls until the page has the text: forms lead to other pages.
func (b *browser) await(text string) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		got, err := chromedp.Run(b.ctx, chromedp.Evaluate[string]("document.readyState === 'complete' ? document.body.innerText : ''"))
		return err == nil && strings.Contains(got, text)
	}, 20*time.Second, 50*time.Millisecond, "the page never says %q", text)
}

func (b *browser) keys(keys string) { b.t.Helper(); b.run(chromedp.KeyEvent(keys)) }

// accessKey presses Alt and the letter.
func (b *browser) accessKey(letter string) {
	b.t.Helper()
	for _, kind := range []input.DispatchKeyEventType{input.DispatchKeyEventTypeRawKeyDown, input.DispatchKeyEventTypeChar, input.DispatchKeyEventTypeKeyUp} {
		call(b, input.DispatchKeyEvent, input.DispatchKeyEventParams{
			Type: kind, Modifiers: 1, Key: letter, UnmodifiedText: letter, Text: letter, Code: "Key" + strings.ToUpper(letter), WindowsVirtualKeyCode: int64(strings.ToUpper(letter)[0]),
		})
	}
}

// screenshot saves a picture of the full page if SIGHTGLASS_SCREENSHOTS is set.
func (b *browser) screenshot(name string) {
	b.t.Helper()
	dir := os.Getenv(screenshots)
	if dir == "" {
		return
	}
	picture, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	require.NoError(b.t, err)
	require.NoError(b.t, os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o600))
}

// focused returns the accessible name of the focused element.
func (b *browser) focused() string {
	b.t.Helper()
	return eval[string](b, "(document.activeElement.innerText || document.activeElement.name || document.activeElement.id || '').trim()")
}

func TestReviewingByKeyboard(t *testing.T) {
	web := newSite(t, storetest.SQLite(t))
	b := newBrowser(t, web)
	b.open(web.URL + "/reviews")
	b.screenshot("reviews-empty")
	first, second := item(1), item(2)
	second.Model = "triage"
	web.queue(first, second)
	b.open(web.URL + "/reviews")

	b.keys(kb.Tab)
	require.Equal(t, "Skip to content", b.focused(), "the first stop of the Tab key")
	var order []string
	for range 10 {
		b.keys(kb.Tab)
		order = append(order, b.focused())
	}
	require.Equal(t, []string{"Sightglass", "Incidents", "Answers", "Alerts", "state", "model", "evaluation", "q", "Filter", "support-bot version 3"},
		[]string{order[0], order[1], order[2], order[3], selected(order[4], "state"), selected(order[5], "model"), selected(order[6], "evaluation"), order[7], order[8], order[9]})

	b.open(web.URL + "/reviews")
	b.keys("j")
	require.Equal(t, "support-bot version 3", b.focused())
	b.keys("j")
	require.Equal(t, "triage version 3", b.focused())
	b.keys("j")
	require.Equal(t, "triage version 3", b.focused(), "the list ends")
	outline := eval[string](b, "getComputedStyle(document.activeElement, '::after').outlineStyle")
	require.Equal(t, "solid", outline, "the focus is seen")
	b.keys("/")
	require.Equal(t, "q", b.focused())
	b.keys(kb.Escape)
	b.keys("j")
	b.keys(kb.Enter)
	b.await("Your decision")
	b.keys("r")
	require.Equal(t, "reason", b.focused())
	b.keys("jkxu is text here, and no command")
	b.keys(kb.Tab)
	require.Equal(t, "Accept", b.focused())
	b.keys(kb.Tab)
	require.Equal(t, "Reject", b.focused())
	b.keys(kb.Enter)
	b.await("Rejected.")
	require.Contains(t, b.text(), "triage", "the next item is shown")
	require.Contains(t, web.trail("review_decided")[0], "jkxu is text here, and no command")

	b.accessKey("a")
	b.await("Nothing waits for you")
	require.Len(t, web.trail("review_decided"), 2)
	require.Empty(t, b.complaints())
}

// selected is the name of a select, whose inner text is its options.
func selected(text, name string) string {
	if strings.HasPrefix(text, "Any") {
		return name
	}
	return text
}

func TestReviewingWithoutJavaScript(t *testing.T) {
	web := newSite(t, storetest.SQLite(t))
	b := newBrowser(t, web)
	one := item(1)
	web.queue(one)
	web.fire("a-1", "MLModelDrift", fired, fired.Add(50*time.Minute))
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	// With scripts off, chromedp itself can do no more than press keys.
	stops := func(n int) {
		for range n {
			b.keys(kb.Tab)
		}
	}
	b.open(web.URL + "/reviews/" + one.ID)
	stops(10) // skip, name, three sections, back, answer, trace, run, reason
	b.keys("Fine.")
	stops(1)
	b.keys(kb.Enter)
	require.Eventually(t, func() bool { return len(web.trail("review_decided")) == 1 }, 20*time.Second, 50*time.Millisecond)
	require.Contains(t, web.trail("review_decided")[0], `"decision":"accepted"`)
	require.Contains(t, web.trail("review_decided")[0], "Fine.")

	b.open(web.URL + "/alerts/a-1")
	b.accessKey("x")
	require.Eventually(t, func() bool { return len(web.trail("alert_judged")) == 1 }, 20*time.Second, 50*time.Millisecond)
	require.Contains(t, web.trail("alert_judged")[0], `"verdict":"false"`)
}

func TestJudgingAnAlert(t *testing.T) {
	web := newSite(t, storetest.SQLite(t))
	b := newBrowser(t, web)
	web.fire("a-1", "MLModelDrift", fired, fired.Add(50*time.Minute))
	web.fire("a-2", "MLDatasetDrift", fired.Add(time.Minute), time.Time{})
	b.open(web.URL + "/alerts")
	b.screenshot("alerts")
	b.keys("j")
	b.keys("j")
	b.keys(kb.Enter)
	b.await("Your verdict")
	b.screenshot("alert-unjudged")
	b.run(chromedp.SetValue("#onset", "2026-11-24T10:19"), chromedp.SendKeys("#reason", "The feed sent cents for dollars."))
	b.accessKey("a")
	b.await("The verdict is recorded.")
	require.Contains(t, b.text(), "11 min before the alert")
	b.screenshot("alert-judged")
	b.theme("dark", 390)
	b.screenshot("alert-dark-narrow")
	require.Contains(t, web.trail("alert_judged")[0], "2026-11-24T10:19:00Z")
	require.Empty(t, b.complaints())
}

func TestAHostileExcerptIsHarmless(t *testing.T) {
	web := newSite(t, storetest.SQLite(t))
	b := newBrowser(t, web)
	evil := item(1)
	evil.Excerpt = `</p></div><script>window.owned = 1</script><img src=x onerror="window.owned = 2"><style>body{display:none}</style>` +
		"\nPay \u202e000,1$\u202c to \u2066me\u2069\x00\x1b[31m \u200b" + `{{.Data}} javascript:alert(1)`
	evil.Model, evil.Label = `<b onmouseover="window.owned=3">m</b>`, "\u202elabel"
	evil.Explanation = `"><a href="javascript:window.owned=4">click</a>`
	evil.TraceID = `x"onclick="window.owned=5`
	long := item(2)
	long.Excerpt = strings.Repeat("0123456789", 100_000)
	web.queue(evil, long)

	for _, path := range []string{"/reviews", "/reviews/" + evil.ID} {
		b.open(web.URL + path)
		require.Contains(t, b.text(), "<script>window.owned = 1</script>", "it is shown as what it is")
		require.Contains(t, b.text(), "U+202E")
		require.Equal(t, "undefined", eval[string](b, "typeof window.owned"))
		require.Zero(t, eval[int](b, "document.querySelectorAll('main script, main style, main img, main [onerror], main [onmouseover], main [onclick], main [style], main a[href^=javascript]').length"))
		require.False(t, eval[bool](b, `/[\u202a-\u202e\u2066-\u2069\u200b\u0000\u001b]/.test(document.documentElement.textContent)`), "nothing hidden is left")
	}
	b.screenshot("hostile")
	require.Empty(t, eval[string](b, "[...document.querySelectorAll('.links a')].filter(a => a.href.includes('onclick')).join()"))

	b.open(web.URL + "/reviews/" + long.ID)
	require.Equal(t, excerptShort, eval[int](b, "document.querySelector('.quote').textContent.length"))
	require.False(t, eval[bool](b, "document.documentElement.scrollWidth > document.documentElement.clientWidth"), "a long line does not widen the page")
	b.screenshot("long-line")
	b.run(chromedp.Click(".cut a"))
	b.await("The first 100")
	require.Equal(t, excerptLong, eval[int](b, "document.querySelector('.quote').textContent.length"))
	require.Empty(t, b.complaints())

	status, body := web.do(http.MethodGet, "/reviews/"+long.ID+"/excerpt.txt", nil)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, long.Excerpt, body, "whoever wants all gets all")
}

func TestThePageFitsScreensAndThemes(t *testing.T) {
	web := newSite(t, storetest.SQLite(t))
	b := newBrowser(t, web)
	for n := range 30 {
		i := item(n)
		i.Model = []string{"support-bot", "contract-summariser", "triage"}[n%3]
		i.Evaluation = []string{"groundedness", "toxicity"}[n%2]
		web.queue(i)
	}
	one := item(5)
	for _, theme := range []string{"light", "dark"} {
		for name, width := range map[string]int64{"wide": 1100, "narrow": 360} {
			b.theme(theme, width)
			for page, path := range map[string]string{"list": "/reviews", "item": "/reviews/" + one.ID, "nothing": "/reviews?q=zebra", "missing": "/reviews/none"} {
				b.open(web.URL + path)
				require.False(t, eval[bool](b, "document.documentElement.scrollWidth > document.documentElement.clientWidth"), "%s is too wide", page)
				require.Empty(t, eval[string](b, `[...document.querySelectorAll('input:not([type=hidden]), select, textarea')].filter(e => !e.labels.length).map(e => e.name).join()`), "a field without a label")
				b.screenshot(strings.Join([]string{page, theme, name}, "-"))
			}
		}
	}
}
