// Package links makes addresses of what alerts name: traces, runs, dashboards and runbooks.
//
// Input: addresses that the operator wrote, and IDs and paths from outside. Output: addresses that lead where the operator said, or
// none. State: none. The package never takes a host from an alert, except a runbook's, whose scheme is checked.
package links

import (
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Placeholders of the addresses.
const (
	TraceID = "{trace_id}"
	RunID   = "{run_id}"
)

// linkable is what an ID may consist of to become part of a link. Others are shown as text.
var linkable = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// Fill puts an ID that came from outside into an address that the operator wrote.
func Fill(template, placeholder, id string) string {
	if template == "" || !linkable.MatchString(id) {
		return ""
	}
	return strings.ReplaceAll(template, placeholder, id)
}

// Runbook is the address if it is one of the web.
func Runbook(address string) string {
	if u, err := url.Parse(address); err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" {
		return u.String()
	}
	return ""
}

// dashboardPath is what the rules write: /d/UID or /d/UID/SLUG, and variables.
var dashboardPath = regexp.MustCompile(`^/d/[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)?$`)

// Dashboard is the dashboard of a path, in the Grafana at base, from an hour before the time to an hour after.
func Dashboard(base, path string, at time.Time) string {
	u, err := url.Parse(path)
	if base == "" || err != nil || u.IsAbs() || u.Host != "" || !dashboardPath.MatchString(u.EscapedPath()) {
		return ""
	}
	q := u.Query()
	q.Set("from", strconv.FormatInt(at.Add(-time.Hour).UnixMilli(), 10))
	q.Set("to", strconv.FormatInt(at.Add(time.Hour).UnixMilli(), 10))
	return strings.TrimSuffix(base, "/") + u.EscapedPath() + "?" + q.Encode()
}
