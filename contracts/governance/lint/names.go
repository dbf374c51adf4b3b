package lint

import (
	"strings"
	"unicode"
)

// tokens are the words of a name in snake_case or CamelCase, in lower case:
// step_count and StepCount are step, count; HTTPCount2 is http, count2.
func tokens(name string) []string {
	var all []string
	var word []rune
	end := func() {
		if len(word) > 0 {
			all = append(all, strings.ToLower(string(word)))
			word = word[:0]
		}
	}
	runes := []rune(name)
	for i, r := range runes {
		switch {
		case r == '_':
			end()
			continue
		case unicode.IsUpper(r) && i > 0:
			next := i+1 < len(runes) && unicode.IsLower(runes[i+1])
			if !unicode.IsUpper(runes[i-1]) || next {
				end()
			}
		}
		word = append(word, r)
	}
	end()
	return all
}

func upperSnake(name string) string { return strings.ToUpper(strings.Join(tokens(name), "_")) }

// folded is a name as a language sees it that knows no underscores or no case.
func folded(name string) string { return strings.ToLower(strings.ReplaceAll(name, "_", "")) }
