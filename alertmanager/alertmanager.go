// Package alertmanager holds the Alertmanager configuration that ships with Sightglass: routes, inhibition
// and the Slack message. Operators use the files as they are; the demo and the tests read them from here.
package alertmanager

import "embed"

// Files are alertmanager.yaml and the templates it loads.
//
//go:embed alertmanager.yaml templates
var Files embed.FS
