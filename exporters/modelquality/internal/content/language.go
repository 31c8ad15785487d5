package content

import "github.com/RadhiFadlillah/whatlanggo"

// Undetermined is the language of a text that is too short or too mixed to tell, by its code in ISO 639-2.
const Undetermined = "und"

// maxRunes is how much of a text the language is told by. More would take longer than the millisecond that this does.
const maxRunes = 1000

// language is the code of a text's language in ISO 639-1, or that of ISO 639-3 where there is none of two letters. Where the library
// does not call its own answer reliable it is undetermined. It is empty of a text without letters.
func language(text, script string) string {
	switch script {
	case "":
		return ""
	case "kana":
		return "ja" // The library tells most Chinese signs from most kana, and Japanese has both.
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
