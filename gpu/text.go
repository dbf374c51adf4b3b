package gpu

import "fmt"

// MarshalText is the class's name, and empty for none. So its place in the table may
// change, and what was written stays readable.
func (c Class) MarshalText() ([]byte, error) {
	if c == 0 {
		return nil, nil
	}
	if c >= classEnd {
		return nil, fmt.Errorf("there is no class %d", uint8(c))
	}
	return []byte(c.String()), nil
}

// UnmarshalText reads what MarshalText wrote.
func (c *Class) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*c = 0
		return nil
	}
	class, ok := ByClassName(string(text))
	if !ok {
		return fmt.Errorf("there is no class %q", text)
	}
	*c = class
	return nil
}
