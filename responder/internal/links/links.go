// Package links builds addresses for what alerts name: traces, runs, dashboards and runbooks.
//
// Input: addresses from the configuration, and IDs and paths from outside. Output: addresses on the configured hosts, or
// none. State: none. It never takes a host from an alert, except that of a runbook, whose scheme it checks.
package links

import (
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Placeholders in configured addresses.
const (
	TraceID = "{trace_id}"
	RunID   = "{run_id}"
)

// linkable matches IDs that may become part of a link. Others are shown as text.
var linkable = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// Fill inserts an ID from outside into a configured address.
func Fill(template, placeholder, id string) string {
	if template == "" || !linkable.MatchString(id) {
		return ""
	}
	return strings.ReplaceAll(template, placeholder, id)
}

// Runbook returns the address if it is an http or https URL.
func Runbook(address string) string {
	if u, err := url.Parse(address); err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" {
		return u.String()
	}
	return ""
}

// dashboardPath matches the dashboards in the rules' annotations: /d/UID or /d/UID/SLUG, and variables.
var dashboardPath = regexp.MustCompile(`^/d/[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)?$`)

// Dashboard returns the address of a dashboard in the Grafana at base, for the hour before the time to the hour after.
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
