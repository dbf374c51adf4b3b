package history_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/esper-sim/espersim/checkers/history"
)

func check(t *testing.T, model, text string) (*history.Result, error) {
	t.Helper()
	m, ok := history.FindModel(model)
	if !ok {
		t.Fatalf("no model %s", model)
	}
	ops, err := history.Read("h", []byte(text), history.Options{})
	if err != nil {
		return nil, err
	}
	return history.Check("h", ops, m, time.Minute)
}

// jepsen writes operations as Jepsen's EDN: "0 invoke write 1".
func jepsen(lines ...string) string {
	var b strings.Builder
	for i, l := range lines {
		w := strings.SplitN(l, " ", 4)
		for len(w) < 4 {
			w = append(w, "nil")
		}
		fmt.Fprintf(&b, "{:process %s, :type :%s, :f :%s, :value %s, :index %d, :time %d}\n", w[0], w[1], w[2], w[3], i, i*1000)
	}
	return b.String()
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		name, model, text string
		want              history.Verdict
		culprit           string // part of the operation that nothing explains
	}{
		{"a register", "register", jepsen("0 invoke write 1", "0 ok write 1", "1 invoke read", "1 ok read 1"), history.Linearizable, ""},
		{"a stale read", "register", jepsen("0 invoke write 1", "0 ok write 1", "0 invoke write 2", "0 ok write 2", "1 invoke read", "1 ok read 1",
			"1 invoke read", "1 ok read 2"), history.Illegal, "read → 1"},
		{"overlapping", "register", jepsen("0 invoke write 1", "1 invoke read", "1 ok read nil", "0 ok write 1"), history.Linearizable, ""},
		{"back again", "register", jepsen("0 invoke write 1", "1 invoke read", "1 ok read 1", "1 invoke read", "1 ok read nil", "0 ok write 1"), history.Illegal, "read → nil"},
		{"a failed write is none", "register", jepsen("0 invoke write 1", "0 fail write 1", "1 invoke read", "1 ok read 1"), history.Illegal, "read → 1"},
		{"an ambiguous time-out that took effect", "register", jepsen("0 invoke write 1", "0 info write :timed-out", "1 invoke read", "1 ok read 1"), history.Linearizable, ""},
		{"much later", "register", jepsen("0 invoke write 1", "0 info write 1", "1 invoke write 2", "1 ok write 2", "1 invoke read", "1 ok read 2", "1 invoke read", "1 ok read 1"), history.Linearizable, ""},
		{"and not twice", "register", jepsen("0 invoke write 1", "0 info write 1", "1 invoke write 2", "1 ok write 2", "1 invoke read", "1 ok read 1", "1 invoke write 3", "1 ok write 3",
			"1 invoke read", "1 ok read 1"), history.Illegal, "read → 1"},
		{"an ambiguous time-out that did not", "register", jepsen("0 invoke write 1", "0 info write 1", "1 invoke read", "1 ok read nil"), history.Linearizable, ""},
		{"an open call", "register", jepsen("0 invoke write 1", "1 invoke read", "1 ok read 1"), history.Linearizable, ""},
		{"cas", "cas-register", jepsen("0 invoke write 1", "0 ok write 1", "0 invoke cas [1 2]", "0 ok cas [1 2]", "0 invoke read", "0 ok read 2"), history.Linearizable, ""},
		{"cas from another value", "cas-register", jepsen("0 invoke write 1", "0 ok write 1", "0 invoke cas [3 2]", "0 ok cas [3 2]"), history.Illegal, "cas [3 2]"},
		{"an ambiguous cas that cannot be", "cas-register", jepsen("0 invoke write 1", "0 ok write 1", "0 invoke cas [3 2]", "0 info cas [3 2]", "1 invoke read", "1 ok read 1"), history.Linearizable, ""},
		{"cas on independent keys", "cas-register", jepsen("0 invoke write [a 1]", "0 ok write [a 1]", "1 invoke cas [a [1 2]]", "1 ok cas [a [1 2]]", "0 invoke read [a nil]", "0 ok read [a 2]",
			"0 invoke read [b nil]", "0 ok read [b nil]"), history.Linearizable, ""},
		{"one key of two is wrong", "register", jepsen("0 invoke write [1 5]", "0 ok write [1 5]", "1 invoke read [2 nil]", "1 ok read [2 5]"), history.Illegal, "read 2 → 5"},
		{"kv", "kv", `{:process 0 :type :invoke :f :put :key "k" :value "x"} {:process 0 :type :ok :f :put :key "k" :value "x"}
{:process 0 :type :invoke :f :append :key "k" :value "y"} {:process 0 :type :ok :f :append :key "k" :value "y"}
{:process 1 :type :invoke :f :get :key "k" :value nil} {:process 1 :type :ok :f :get :key "k" :value "xy"}`, history.Linearizable, ""},
		{"kv that lost an append", "kv", `{:process 0 :type :invoke :f :append :key "k" :value "y"} {:process 0 :type :ok :f :append :key "k" :value "y"}
{:process 1 :type :invoke :f :get :key "k" :value nil} {:process 1 :type :ok :f :get :key "k" :value ""}`, history.Illegal, "get"},
		{"a queue", "queue", jepsen("0 invoke enqueue 1", "0 ok enqueue 1", "0 invoke enqueue 2", "0 ok enqueue 2", "1 invoke dequeue", "1 ok dequeue 1", "1 invoke drain", "1 ok drain [2]", "1 invoke dequeue", "1 ok dequeue nil"), history.Linearizable, ""},
		{"a queue out of order", "queue", jepsen("0 invoke enqueue 1", "0 ok enqueue 1", "0 invoke enqueue 2", "0 ok enqueue 2", "1 invoke dequeue", "1 ok dequeue 2"), history.Illegal, "dequeue → 2"},
		{"a dequeue of unknown outcome", "queue", jepsen("0 invoke enqueue 1", "0 ok enqueue 1", "0 invoke enqueue 2", "0 ok enqueue 2", "1 invoke dequeue", "1 info dequeue", "2 invoke dequeue", "2 ok dequeue 2"), history.Linearizable, ""},
		{"a drain of unknown outcome", "queue", jepsen("0 invoke enqueue 1", "0 ok enqueue 1", "0 invoke enqueue 2", "0 ok enqueue 2", "1 invoke drain", "1 info drain", "2 invoke dequeue", "2 ok dequeue 2"), history.Linearizable, ""},
		{"a lock", "lock", jepsen("0 invoke acquire", "0 ok acquire", "1 invoke acquire", "0 invoke release", "0 ok release", "1 ok acquire"), history.Linearizable, ""},
		{"a lock held twice", "lock", jepsen("0 invoke acquire", "0 ok acquire", "1 invoke acquire", "1 ok acquire"), history.Illegal, "process 1 acquire"},
		{"a set", "set", jepsen("0 invoke add 1", "0 ok add 1", "1 invoke add 2", "2 invoke read", "2 ok read #{1 2}", "1 info add 2"), history.Linearizable, ""},
		{"a set that lost an element", "set", jepsen("0 invoke add 1", "0 ok add 1", "2 invoke read", "2 ok read []"), history.Illegal, "read → []"},
		{"a vector of tagged operations", "register", `[#jepsen.history.Op{:index 0, :time 1, :type :invoke, :process 0, :f :write, :value 3}
 #jepsen.history.Op{:index 1, :time 2, :type :ok, :process 0, :f :write, :value 3} ; done
 #_ {:process 9} {:type :info, :process :nemesis, :f :start, :value nil}
 {:type :invoke, :process 1, :f :read} {:type :ok, :process 1, :f :read, :value 3N}]`, history.Linearizable, ""},
		{"a console log", "cas-register", `INFO  jepsen.core - Starting
INFO  jepsen.util - 0	:invoke	:read	nil
INFO  jepsen.util - 1	:invoke	:write	3
INFO  jepsen.util - 0	:ok	:read	3
INFO  jepsen.util - 1	:info	:write	:timed-out
INFO  jepsen.util - 2	:invoke	:cas	[3 4]
INFO  jepsen.util - 2	:ok	:cas	[3 4]
INFO  jepsen.util - 0	:invoke	:cas	[3 4]
INFO  jepsen.util - 0	:fail	:cas	[3 4]
INFO  jepsen.util - :nemesis	:info	:start	nil
`, history.Linearizable, ""},
		{"a newer console log", "register", `2024-01-10 12:00:00,123{GMT}	INFO	[jepsen worker 0] jepsen.util: 0	:invoke	:write	3
2024-01-10 12:00:00,124{GMT}	INFO	[jepsen worker 0] jepsen.util: 0	:ok	:write	3
2024-01-10 12:00:00,125{GMT}	INFO	[jepsen worker 1] jepsen.util: 1	:invoke	:read	nil
2024-01-10 12:00:00,126{GMT}	INFO	[jepsen worker 1] jepsen.util: 1	:ok	:read	nil
`, history.Illegal, "read → nil"},
		{"operations as JSON", "register", `[{"ClientId": 0, "Input": {"op": "write", "value": 3}, "Call": 0, "Output": null, "Return": 10},
{"ClientId": 1, "Input": {"op": "read"}, "Call": 5, "Output": 3, "Return": 15},
{"ClientId": 1, "Input": {"op": "write", "value": 4}, "Call": 16}]`, history.Linearizable, ""},
		{"operations as JSON that are wrong", "register", `{"ClientId": 0, "Input": ["write", 3], "Call": 0, "Output": null, "Return": 10}
{"ClientId": 1, "Input": ["read", null], "Call": 11, "Output": {"value": 4}, "Return": 15}`, history.Illegal, "read → 4"},
		{"events as JSON", "kv", `[{"ClientId": 0, "Kind": "call", "Id": 1, "Value": ["put", "k", "v"]}, {"ClientId": 0, "Kind": "return", "Id": 1, "Value": null},
{"ClientId": 0, "Kind": "call", "Id": 2, "Value": {"op": "get", "key": "k"}}, {"ClientId": 0, "Kind": "return", "Id": 2, "Value": "v"}]`, history.Linearizable, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := check(t, c.model, c.text)
			if err != nil {
				t.Fatal(err)
			}
			if r.Verdict != c.want {
				t.Fatalf("%v, want %v", r.Verdict, c.want)
			}
			if c.want == history.Illegal {
				if !strings.Contains(r.Culprit.String(), c.culprit) || len(r.Prefix) == 0 {
					t.Errorf("the culprit is %q, want %q in it", r.Culprit, c.culprit)
				}
				if last := r.Prefix[len(r.Prefix)-1]; last.Call > r.Culprit.Return {
					t.Errorf("the prefix goes on behind its culprit: %v", last)
				}
			}
			var page bytes.Buffer
			if err := r.Picture(&page); err != nil || !strings.Contains(page.String(), "<html") {
				t.Errorf("the picture: %v, %d bytes", err, page.Len())
			}
		})
	}
}

func TestMalformed(t *testing.T) {
	ok := jepsen("0 invoke write 1", "0 ok write 1")
	for _, c := range []struct {
		name, model, text string
		line              int
		want              string
	}{
		{"nothing", "register", "", 1, "empty"},
		{"white space", "register", " \n\t", 1, "empty"},
		{"a return without a call", "register", ok + "{:process 3 :type :ok :f :read :value 1}", 3, "has not called"},
		{"two calls at once", "register", jepsen("0 invoke write 1", "0 invoke write 2"), 2, "while its call of line 1"},
		{"another function returns", "register", jepsen("0 invoke write 1", "0 ok read 1"), 2, "has called write"},
		{"no process", "register", ok + "{:type :ok :f :read}", 3, "without :process"},
		{"no type", "register", ok + "{:process 1 :f :read}", 3, "without :type"},
		{"no function", "register", ok + "{:process 1 :type :ok}", 3, "without :f"},
		{"another type", "register", ok + "{:process 1 :type :done :f :read}", 3, ":type is :done"},
		{"another function", "register", ok + "{:process 1 :type :invoke :f :enqueue}", 3, `no "enqueue"`},
		{"a map without an end", "register", ok + "\n{:process 1\n", 4, "has no end"},
		{"a closing bracket", "register", ok + "]", 3, "closes nothing"},
		{"a string without an end", "register", ok + `{:process "1`, 3, "has no end"},
		{"a key without a value", "register", ok + "{:process 1 :type}", 3, "without a value"},
		{"no operation", "register", ok + "42", 3, "is no operation"},
		{"a bad number", "register", ok + "{:process 1x}", 3, "no number"},
		{"cas of one value", "cas-register", ok + "{:process 1 :type :invoke :f :cas :value 3}", 3, "want [old new]"},
		{"kv without keys", "kv", ok, 1, "no key"},
		{"a set's read that is no list", "set", jepsen("0 invoke read", "0 ok read 3"), 1, "want the elements"},
		{"nothing has returned", "register", jepsen("0 invoke write 1"), 1, "nothing to judge"},
		{"only failures", "register", jepsen("0 invoke write 1", "0 fail write 1"), 1, "nothing to judge"},
		{"deep", "register", strings.Repeat("[", 10_000), 1, "nested"},
		{"JSON that ends", "register", `[{"ClientId": 0, "Input": {"op": "read"}`, 1, "has no end"},
		{"JSON that is none", "register", "[{\"ClientId\": 0,\n \"Input\": xyz}]", 2, "invalid character"},
		{"JSON without an input", "register", `[{"ClientId": 0, "Call": 0, "Return": 1}]`, 1, "without Input"},
		{"JSON that returns before it is called", "register", `[{"ClientId": 0, "Input": ["read", null], "Call": 5, "Return": 1}]`, 1, "before its call"},
		{"JSON with a text for a time", "register", "[\n{\"ClientId\": 0, \"Input\": [\"read\", null], \"Call\": \"x\"}]", 2, "Call is"},
		{"an event that returns twice", "kv", `[{"Kind": "call", "Id": 1, "Value": ["get", "k", null]}, {"Kind": "return", "Id": 1, "Value": null}, {"Kind": "return", "Id": 1, "Value": null}]`, 1, "no call is open"},
		{"an empty list", "register", "[]", 1, "nothing to judge"},
		{"a log line that breaks off", "register", "INFO  jepsen.util - 0	:invoke	:write	[3\n", 1, "has no end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := check(t, c.model, c.text)
			var e *history.Error
			if !errors.As(err, &e) || e.Line != c.line || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v; want line %d and %q", err, c.line, c.want)
			}
		})
	}
}

// The smallest illegal prefix of a long history ends at the first thing that
// nothing explains.
func TestSmallestPrefix(t *testing.T) {
	var lines []string
	for i := range 300 {
		lines = append(lines, fmt.Sprintf("0 invoke write %d", i), fmt.Sprintf("0 ok write %d", i))
		read := i
		if i == 17 || i == 200 {
			read = i - 2
		}
		lines = append(lines, "1 invoke read", fmt.Sprintf("1 ok read %d", read))
	}
	r, err := check(t, "register", jepsen(lines...))
	if err != nil {
		t.Fatal(err)
	}
	if r.Verdict != history.Illegal || r.Culprit.String() != "process 1 read → 15" || len(r.Prefix) != 36 {
		t.Errorf("%v, %d operations up to %v", r.Verdict, len(r.Prefix), r.Culprit)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(jepsen("0 invoke write [1 2]", "0 ok write [1 2]")))
	f.Add([]byte(`[#jepsen.history.Op{:process 0 :type :invoke :f :cas :value [1 2]} #inst "x" #{1} \a ^{:m 1} -3/4]`))
	f.Add([]byte("INFO  jepsen.util - 0	:invoke	:read	nil\n"))
	f.Add([]byte(`[{"ClientId": 0, "Input": {"op": "write", "value": 3}, "Call": 0, "Output": null, "Return": 10}]`))
	f.Add([]byte(`{"Kind": "call", "Id": 1, "Value": ["get", "k", null]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		ops, err := history.Read("h", b, history.Options{})
		if err != nil {
			var e *history.Error
			if !errors.As(err, &e) || e.Line < 1 {
				t.Fatalf("%#v", err)
			}
			return
		}
		if len(ops) > 8 {
			return
		}
		for _, m := range history.Models() {
			if _, err := history.Check("h", ops, m, time.Second); err != nil {
				var e *history.Error
				if !errors.As(err, &e) {
					t.Fatalf("%#v", err)
				}
			}
		}
	})
}

func ExampleCheck() {
	text := `{:process 0, :type :invoke, :f :write, :value 1}
{:process 0, :type :ok, :f :write, :value 1}
{:process 1, :type :invoke, :f :read, :value nil}
{:process 1, :type :ok, :f :read, :value nil}`
	ops, err := history.Read("history.edn", []byte(text), history.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	m, _ := history.FindModel("register")
	r, err := history.Check("history.edn", ops, m, time.Minute)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Verdict)
	fmt.Println(r.Culprit)
	// Output:
	// not linearizable
	// process 1 read → nil
}
