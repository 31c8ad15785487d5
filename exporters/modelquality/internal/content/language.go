package content

import "github.com/RadhiFadlillah/whatlanggo"

// Undetermined is the ISO 639-2 code for a text that is too short or too mixed to detect its language.
const Undetermined = "und"

// maxRunes is the length of text used for detection, which takes about a millisecond. A longer text takes more.
const maxRunes = 1000

// language returns the ISO 639-1 code of a text's language, or the ISO 639-3 code if there is no code of two letters. It is Undetermined if
// the library reports its result as unreliable, and empty for a text without letters.
func language(text, script string) string {
	switch script {
	case "":
		return ""
	case "kana":
		return "ja" // The library distinguishes Han from kana, and Japanese has both.
	}
	n := 0
	for at := range text {
		if n++; n > maxRunes {
			text = text[:at]
			break
		}
	}
	info := whatlanggo.Detect(text)
	if !info.IsReliable() {
		return Undetermined
	}
	if code := info.Lang.Iso6391(); code != "" {
		return code
	}
	return info.Lang.Iso6393()
}
