package convention

import (
	"encoding/json"
	"strings"
)

// hosted configures how names of hosted models are normalized.
type hosted struct {
	prefixes []string
	aliases  map[string]string
	exact    bool
}

// name returns the normalized name of a model that routers and SDKs write differently.
func (h *hosted) name(s string) string {
	if !h.exact {
		s = lower(s)
		for again := strings.IndexByte(s, '/') > 0; again; {
			again = false
			for _, p := range h.prefixes {
				if rest, ok := strings.CutPrefix(s, p); ok && rest != "" {
					s, again = rest, true
				}
			}
		}
	}
	if to, ok := h.aliases[s]; ok {
		return to
	}
	return s
}

// Base returns the name of a model without the suffix of its release: gpt-4o for gpt-4o-2024-08-06, gpt-3.5-turbo for gpt-3.5-turbo-0125,
// claude-3-opus for claude-3-opus@20240229. It also removes -latest and :latest.
func Base(model string) string {
	for _, suffix := range []string{"-latest", ":latest"} {
		model = strings.TrimSuffix(model, suffix)
	}
	for _, form := range []string{"-dddd-dd-dd", "-dddddddd", "@dddddddd", "-dddd"} {
		if n := len(model) - len(form); n > 0 && fits(model[n:], form) {
			return model[:n]
		}
	}
	return model
}

// fits reports whether a text matches a form, in which d is a digit.
func fits(text, form string) bool {
	for i := range len(form) {
		if c := text[i]; form[i] == 'd' && (c < '0' || c > '9') || form[i] != 'd' && c != form[i] {
			return false
		}
	}
	return true
}

// requested returns the model that JSON request parameters name.
func requested(parameters string) string {
	var p struct {
		Model any `json:"model"`
		// LangChain's name.
		Name any `json:"model_name"`
	}
	if !strings.Contains(parameters, "model") || json.Unmarshal([]byte(parameters), &p) != nil {
		return ""
	}
	if s, ok := p.Model.(string); ok && s != "" {
		return s
	}
	s, _ := p.Name.(string)
	return s
}
