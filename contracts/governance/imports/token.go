package imports

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// A pyToken is one token of a Python file. Comments are none.
type pyToken struct {
	kind         byte   // 'n' name, 's' string, 'o' other, ';' end of a logical line
	text         string // of a string: what is between the quotes
	line, column int
}

// pyTokens splits Python. It never fails: what it does not know is one token a
// character, and a string without an end ends with its line or the file.
func pyTokens(text string) []pyToken {
	t := &pyScanner{text: text, line: 1, column: 1}
	t.code("")
	return append(t.out, pyToken{kind: ';', line: t.line, column: t.column})
}

type pyScanner struct {
	text         string
	at           int
	line, column int
	out          []pyToken
	deep         int // f-strings inside f-strings
}

func (s *pyScanner) peek(n int) byte {
	if s.at+n < len(s.text) {
		return s.text[s.at+n]
	}
	return 0
}

func (s *pyScanner) next() rune {
	r, n := utf8.DecodeRuneInString(s.text[s.at:])
	s.at += n
	if r == '\n' {
		s.line, s.column = s.line+1, 1
	} else {
		s.column++
	}
	return r
}

// code scans until the end, or in an f-string until the brace that closes the
// expression. quote is the f-string's.
func (s *pyScanner) code(quote string) {
	brackets := 0
	for s.at < len(s.text) {
		c := s.peek(0)
		switch {
		case quote != "" && brackets == 0 && c == '}':
			return
		case quote != "" && len(quote) == 1 && c == '\n': // no such f-string: recover
			return
		case quote != "" && brackets == 0 && c == ':':
			s.formatSpec(quote)
			return
		case c == '#':
			for s.at < len(s.text) && s.peek(0) != '\n' {
				s.next()
			}
		case c == '\\' && (s.peek(1) == '\n' || s.peek(1) == '\r'):
			s.next()
			if s.peek(0) == '\r' {
				s.next()
			}
			if s.peek(0) == '\n' {
				s.next()
			}
		case c == '\n' || c == ';':
			if brackets == 0 {
				s.out = append(s.out, pyToken{kind: ';', line: s.line, column: s.column})
			}
			s.next()
		case c == '"' || c == '\'':
			s.str("", s.line, s.column)
		default:
			brackets = s.word(brackets)
		}
	}
}

// formatSpec scans what follows the colon in f"{x:'>{width}}": text, in which a
// quote begins no string, and expressions.
func (s *pyScanner) formatSpec(quote string) {
	for s.at < len(s.text) && s.peek(0) != '}' && !strings.HasPrefix(s.text[s.at:], quote) {
		if s.next() == '\n' && len(quote) == 1 {
			return
		}
		if s.peek(0) == '{' && s.deep < deepest {
			s.next()
			s.deep++
			s.code(quote)
			s.deep--
			if s.peek(0) == '}' {
				s.next()
			}
		}
	}
}

// deepest is how many f-strings stand in each other: more is no code.
const deepest = 50

// word scans a name, a number, white space, or one other character.
func (s *pyScanner) word(brackets int) int {
	line, column, start := s.line, s.column, s.at
	r := s.next()
	switch {
	case unicode.IsSpace(r):
		return brackets
	case r == '_' || unicode.IsLetter(r):
		for s.at < len(s.text) {
			r, _ := utf8.DecodeRuneInString(s.text[s.at:])
			if r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.Is(unicode.Mn, r) {
				break
			}
			s.next()
		}
		name := s.text[start:s.at]
		if c := s.peek(0); (c == '"' || c == '\'') && len(name) <= 2 && strings.Trim(strings.ToLower(name), "rbuft") == "" {
			s.str(strings.ToLower(name), line, column)
			return brackets
		}
		s.out = append(s.out, pyToken{'n', name, line, column})
		return brackets
	case r == '(' || r == '[' || r == '{':
		brackets++
	case r == ')' || r == ']' || r == '}':
		brackets = max(0, brackets-1)
	}
	s.out = append(s.out, pyToken{'o', s.text[start:s.at], line, column})
	return brackets
}

// str scans a string with its prefix. In an f-string the expressions are code:
// f"{m.SerializeToString()}" is a call.
func (s *pyScanner) str(prefix string, line, column int) {
	quote := s.text[s.at : s.at+1]
	if strings.HasPrefix(s.text[s.at:], strings.Repeat(quote, 3)) {
		quote = strings.Repeat(quote, 3)
	}
	for range len(quote) {
		s.next()
	}
	format := strings.ContainsAny(prefix, "ft") && s.deep < deepest
	var value strings.Builder
	for s.at < len(s.text) && !strings.HasPrefix(s.text[s.at:], quote) {
		c := s.peek(0)
		switch {
		case c == '\n' && len(quote) == 1: // a string without an end
			s.out = append(s.out, pyToken{'s', value.String(), line, column})
			return
		case c == '\\':
			s.next()
			if s.at < len(s.text) {
				value.WriteRune(s.next())
			}
		case format && c == '{' && s.peek(1) == '{':
			s.next()
			value.WriteRune(s.next())
		case format && c == '{':
			s.next()
			s.out = append(s.out, pyToken{'o', "{", s.line, s.column})
			s.deep++
			s.code(quote)
			s.deep--
			s.out = append(s.out, pyToken{'o', "}", s.line, s.column})
			if s.peek(0) == '}' {
				s.next()
			}
		default:
			value.WriteRune(s.next())
		}
	}
	for range min(len(quote), len(s.text)-s.at) {
		s.next()
	}
	s.out = append(s.out, pyToken{'s', value.String(), line, column})
}
