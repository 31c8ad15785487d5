// Package alertmanager embeds the Alertmanager configuration of Sightglass: routes, inhibition and the Slack message.
//
// Input: working hours and the oldest version to support. Output: the configuration files. State: none. Operators use the
// files as they are; the demo and tests read them from here.
package alertmanager

import "embed"

// Files has alertmanager.yaml and its templates.
//
//go:embed alertmanager.yaml templates
var Files embed.FS
