package history

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// kind of a Value.
type kind uint8

const (
	nilKind kind = iota
	atom         // number, boolean, keyword, symbol, character
	text
	list // vector, list
	set
	dict
)

// Value is a piece of EDN or JSON.
type Value struct {
	kind  kind
	word  string  // of an atom, in canonical form; of a text, its content
	items []Value // of a list or set; of a dict: key, value, key, value …
	line  int
}

// Nil says whether it is nil, null or nothing.
func (v Value) Nil() bool { return v.kind == nilKind }

// Items are the elements of a list or set.
func (v Value) Items() []Value { return v.items }

// String is the value in canonical form: sets and dicts sorted.
func (v Value) String() string {
	switch v.kind {
	case nilKind:
		return "nil"
	case atom:
		return v.word
	case text:
		return strconv.Quote(v.word)
	}
	var parts []string
	if v.kind == dict {
		for i := 0; i+1 < len(v.items); i += 2 {
			parts = append(parts, v.items[i].String()+" "+v.items[i+1].String())
		}
		slices.Sort(parts)
		return "{" + strings.Join(parts, ", ") + "}"
	}
	for _, x := range v.items {
		parts = append(parts, x.String())
	}
	if v.kind == set {
		slices.Sort(parts)
		return "#{" + strings.Join(parts, " ") + "}"
	}
	return "[" + strings.Join(parts, " ") + "]"
}

// plain is a keyword or symbol without its colon, or a text's content.
func (v Value) plain() string { return strings.TrimPrefix(v.word, ":") }

// get finds a key of a dict; both :type and "type" answer to type.
func (v Value) get(key string) (Value, bool) {
	for i := 0; i+1 < len(v.items); i += 2 {
		if k := v.items[i]; (k.kind == atom || k.kind == text) && k.plain() == key {
			return v.items[i+1], true
		}
	}
	return Value{}, false
}

// maxDepth bounds the nesting of a value, for the reader's stack.
const maxDepth = 100

// ednReader reads EDN values one after the other.
type ednReader struct {
	file string
	s    string
	at   int
	line int
}

func (r *ednReader) fail(wrong, want string) error {
	return &Error{r.file, r.line, wrong, want}
}

// space skips white space, commas, comments and discarded forms.
func (r *ednReader) space(depth int) error {
	for r.at < len(r.s) {
		c := r.s[r.at]
		switch {
		case c == '\n':
			r.line++
			r.at++
		case c == ' ' || c == '\t' || c == '\r' || c == ',' || c == '\f':
			r.at++
		case c == ';':
			for r.at < len(r.s) && r.s[r.at] != '\n' {
				r.at++
			}
		case strings.HasPrefix(r.s[r.at:], "#_"):
			r.at += 2
			if _, err := r.value(depth + 1); err != nil {
				return err
			}
		default:
			return nil
		}
	}
	return nil
}

// more says whether another value follows.
func (r *ednReader) more() (bool, error) {
	err := r.space(0)
	return r.at < len(r.s), err
}

func (r *ednReader) value(depth int) (Value, error) {
	if depth > maxDepth {
		return Value{}, r.fail(fmt.Sprintf("values are nested more than %d deep", maxDepth), "a history")
	}
	if err := r.space(depth); err != nil {
		return Value{}, err
	}
	if r.at == len(r.s) {
		return Value{}, r.fail("the file ends inside a value", "the rest of it")
	}
	line := r.line
	switch c := r.s[r.at]; c {
	case '[':
		return r.sequence(list, ']', 1, depth)
	case '(':
		return r.sequence(list, ')', 1, depth)
	case '{':
		return r.dict(1, depth)
	case ']', ')', '}':
		return Value{}, r.fail(fmt.Sprintf("%q closes nothing", c), "a value")
	case '"':
		return r.text()
	case '\\':
		return r.character()
	case '#':
		switch {
		case strings.HasPrefix(r.s[r.at:], "#{"):
			return r.sequence(set, '}', 2, depth)
		case strings.HasPrefix(r.s[r.at:], "#:"):
			// A namespaced map: the namespace says nothing here.
			r.at += 2
			r.word()
			if err := r.space(depth); err != nil {
				return Value{}, err
			}
			if r.at == len(r.s) || r.s[r.at] != '{' {
				return Value{}, r.fail("a namespace without a map", "{")
			}
			return r.dict(1, depth)
		}
		// A tagged value, such as #jepsen.history.Op{…}: the tag says nothing.
		r.at++
		if r.word() == "" {
			return Value{}, r.fail("a # without a tag", "such as #inst")
		}
		return r.value(depth + 1)
	case '^':
		// Metadata.
		r.at++
		if _, err := r.value(depth + 1); err != nil {
			return Value{}, err
		}
		return r.value(depth + 1)
	}
	word := r.word()
	switch {
	case word == "":
		c, _ := utf8.DecodeRuneInString(r.s[r.at:])
		return Value{}, r.fail(fmt.Sprintf("%q begins no value", c), "EDN")
	case word == "nil":
		return Value{line: line}, nil
	case word[0] >= '0' && word[0] <= '9' || len(word) > 1 && (word[0] == '-' || word[0] == '+') && word[1] >= '0' && word[1] <= '9':
		n, ok := number(word)
		if !ok {
			return Value{}, r.fail(fmt.Sprintf("%q is no number", word), "such as 3, -4, 2.5, 1/3 or 7N")
		}
		return Value{kind: atom, word: n, line: line}, nil
	}
	return Value{kind: atom, word: word, line: line}, nil
}

// number is the canonical form of a number: 3, 3N and +3 are one.
func number(s string) (string, bool) {
	s = strings.TrimPrefix(s, "+")
	if strings.Contains(s, "/") {
		a, b, _ := strings.Cut(s, "/")
		_, errA := strconv.ParseInt(a, 10, 64)
		n, errB := strconv.ParseInt(b, 10, 64)
		return s, errA == nil && errB == nil && n != 0
	}
	whole := strings.TrimSuffix(s, "N")
	if n, err := strconv.ParseInt(whole, 10, 64); err == nil {
		return strconv.FormatInt(n, 10), true
	}
	digits := strings.TrimPrefix(whole, "-")
	if digits != "" && strings.Trim(digits, "0123456789") == "" {
		return whole, true // a big integer
	}
	f, err := strconv.ParseFloat(strings.TrimSuffix(s, "M"), 64)
	if err != nil {
		return "", false
	}
	return strconv.FormatFloat(f, 'g', -1, 64), true
}

func (r *ednReader) word() string {
	from := r.at
	for r.at < len(r.s) {
		c, n := utf8.DecodeRuneInString(r.s[r.at:])
		if unicode.IsSpace(c) || strings.ContainsRune(`,;()[]{}"^\`, c) || c == utf8.RuneError && n == 1 {
			break
		}
		r.at += n
	}
	return r.s[from:r.at]
}

func (r *ednReader) sequence(k kind, end byte, open, depth int) (Value, error) {
	v := Value{kind: k, line: r.line}
	r.at += open
	for {
		if err := r.space(depth); err != nil {
			return v, err
		}
		if r.at == len(r.s) {
			return v, &Error{r.file, v.line, "what begins here has no end", fmt.Sprintf("%q", end)}
		}
		if r.s[r.at] == end {
			r.at++
			return v, nil
		}
		x, err := r.value(depth + 1)
		if err != nil {
			return v, err
		}
		v.items = append(v.items, x)
	}
}

func (r *ednReader) dict(open, depth int) (Value, error) {
	v, err := r.sequence(dict, '}', open, depth)
	if err == nil && len(v.items)%2 != 0 {
		return v, &Error{r.file, v.line, "a map has a key without a value", "pairs"}
	}
	return v, err
}

func (r *ednReader) text() (Value, error) {
	v := Value{kind: text, line: r.line}
	var b strings.Builder
	for r.at++; r.at < len(r.s); r.at++ {
		switch c := r.s[r.at]; c {
		case '"':
			r.at++
			v.word = b.String()
			return v, nil
		case '\n':
			r.line++
			b.WriteByte(c)
		case '\\':
			r.at++
			if r.at == len(r.s) {
				continue
			}
			switch e := r.s[r.at]; e {
			case 'n':
				b.WriteByte('\n')
			case 't':
				b.WriteByte('\t')
			case 'r':
				b.WriteByte('\r')
			case '"', '\\':
				b.WriteByte(e)
			case 'u':
				if r.at+4 >= len(r.s) {
					return v, r.fail(`\u without four digits`, `such as \u00e9`)
				}
				n, err := strconv.ParseUint(r.s[r.at+1:r.at+5], 16, 16)
				if err != nil {
					return v, r.fail(`\u without four digits`, `such as \u00e9`)
				}
				b.WriteRune(rune(n))
				r.at += 4
			default:
				return v, r.fail(fmt.Sprintf(`unknown escape \%c`, e), `\n, \t, \r, \" or \\`)
			}
		default:
			b.WriteByte(c)
		}
	}
	return v, &Error{r.file, v.line, "a string has no end", `"`}
}

func (r *ednReader) character() (Value, error) {
	v := Value{kind: atom, line: r.line}
	r.at++
	from := r.at
	if r.at < len(r.s) {
		_, n := utf8.DecodeRuneInString(r.s[r.at:])
		r.at += n
		r.word()
	}
	if v.word = `\` + r.s[from:r.at]; v.word == `\` {
		return v, r.fail(`a \ without a character`, `such as \a`)
	}
	return v, nil
}
