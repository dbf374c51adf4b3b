// Package ptxtest runs PTX on the processor, for tests: the text itself, instruction
// by instruction and thread by thread, with every access to memory checked. So what
// a device is given is tested where there is none.
//
// It knows the instructions that the kernels of package kernels are made of, and
// refuses all others: above all those that contract, flush or approximate.
package ptxtest

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Module is PTX that was read.
type Module struct {
	entries map[string]*entry
}

type entry struct {
	name      string
	params    []string // their types, such as u64
	names     map[string]int
	registers map[string]int
	code      []instruction
	labels    map[string]int
}

type instruction struct {
	line   int
	guard  int // a predicate's register, or -1
	negate bool
	op     string
	args   []operand
}

type operand struct {
	kind   operandKind
	n      int    // register, or index of a parameter
	value  uint64 // immediate, or offset
	symbol string
}

type operandKind uint8

const (
	register operandKind = iota
	immediate
	special
	label
	parameter
	address // in a register, with an offset
)

var (
	entryLine = regexp.MustCompile(`^\.visible \.entry ([a-z_]+)\($`)
	paramLine = regexp.MustCompile(`^\.param \.([uf][0-9]+) ([A-Za-z0-9_]+),?$`)
	labelLine = regexp.MustCompile(`^([A-Za-z$][A-Za-z0-9_$]*):$`)
	codeLine  = regexp.MustCompile(`^(?:@(!?)(%p[0-9]+) +)?([a-z][a-z0-9_.]*)(?:\s+(.*))?;$`)
)

// Parse reads a module. An error names the line.
func Parse(text string) (*Module, error) {
	m := &Module{entries: map[string]*entry{}}
	var e *entry
	for i, raw := range strings.Split(text, "\n") {
		line, _, _ := strings.Cut(raw, "//")
		line = strings.Join(strings.Fields(line), " ")
		bad := func(format string, args ...any) error {
			return fmt.Errorf("ptx, line %d: %s", i+1, fmt.Sprintf(format, args...))
		}
		switch {
		case line == "", line == ")", line == "{":
		case strings.HasPrefix(line, ".version"), strings.HasPrefix(line, ".target"), strings.HasPrefix(line, ".address_size"),
			strings.HasPrefix(line, ".reg"), strings.HasPrefix(line, ".pragma"):
		case entryLine.MatchString(line):
			e = &entry{name: entryLine.FindStringSubmatch(line)[1], names: map[string]int{}, registers: map[string]int{}, labels: map[string]int{}}
			m.entries[e.name] = e
		case e == nil:
			return nil, bad("%q is not understood", line)
		case line == "}":
			e = nil
		case paramLine.MatchString(line):
			p := paramLine.FindStringSubmatch(line)
			e.names[p[2]] = len(e.params)
			e.params = append(e.params, p[1])
		case labelLine.MatchString(line):
			e.labels[labelLine.FindStringSubmatch(line)[1]] = len(e.code)
		case codeLine.MatchString(line):
			p := codeLine.FindStringSubmatch(line)
			in := instruction{line: i + 1, guard: -1, negate: p[1] == "!", op: p[3]}
			if !known[in.op] {
				return nil, bad("the instruction %s is not known", in.op)
			}
			if p[2] != "" {
				in.guard = e.register(p[2])
			}
			if p[4] != "" {
				for _, word := range strings.Split(p[4], ",") {
					a, err := e.operand(strings.TrimSpace(word))
					if err != nil {
						return nil, bad("%v", err)
					}
					in.args = append(in.args, a)
				}
			}
			e.code = append(e.code, in)
		default:
			return nil, bad("%q is not understood", line)
		}
	}
	for _, e := range m.entries {
		for _, in := range e.code {
			for _, a := range in.args {
				if _, ok := e.labels[a.symbol]; a.kind == label && !ok {
					return nil, fmt.Errorf("ptx, line %d: there is no label %s", in.line, a.symbol)
				}
			}
		}
	}
	return m, nil
}

func (e *entry) register(name string) int {
	n, ok := e.registers[name]
	if !ok {
		n = len(e.registers)
		e.registers[name] = n
	}
	return n
}

func (e *entry) operand(word string) (operand, error) {
	switch {
	case word == "%ctaid.x", word == "%ntid.x", word == "%tid.x":
		return operand{kind: special, symbol: word}, nil
	case strings.HasPrefix(word, "%"):
		return operand{kind: register, n: e.register(word)}, nil
	case strings.HasPrefix(word, "["):
		base, offset, _ := strings.Cut(strings.Trim(word, "[]"), "+")
		add := uint64(0)
		if offset != "" {
			v, err := strconv.ParseInt(offset, 0, 64)
			if err != nil {
				return operand{}, fmt.Errorf("the offset of %s is no number", word)
			}
			add = uint64(v)
		}
		if strings.HasPrefix(base, "%") {
			return operand{kind: address, n: e.register(base), value: add}, nil
		}
		n, ok := e.names[base]
		if !ok {
			return operand{}, fmt.Errorf("there is no parameter %s", base)
		}
		return operand{kind: parameter, n: n}, nil
	case strings.HasPrefix(word, "0f"):
		v, err := strconv.ParseUint(word[2:], 16, 32)
		if err != nil {
			return operand{}, fmt.Errorf("%s is no float", word)
		}
		return operand{kind: immediate, value: v}, nil
	}
	if v, err := strconv.ParseInt(word, 0, 64); err == nil {
		return operand{kind: immediate, value: uint64(v)}, nil
	}
	return operand{kind: label, symbol: word}, nil
}
