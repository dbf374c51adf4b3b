package exchange_test

import (
	"fmt"

	"github.com/esper-sim/espersim/contracts/governance/compat/exchange"
)

func Example() {
	for _, c := range exchange.Classes() {
		fmt.Printf("%s, clean: %v\n", c, c.Clean())
	}
	var c exchange.Class
	fmt.Println(c.UnmarshalText([]byte("lossy")))
	// Output:
	// byte-identical relay, clean: true
	// value-lossless, clean: true
	// presence-lossy, clean: false
	// value-lossy, clean: false
	// parse failure, clean: false
	// "lossy" is no class; want one of ["byte-identical relay" "value-lossless" "presence-lossy" "value-lossy" "parse failure"]
}
