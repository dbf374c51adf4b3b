package incident_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/gpu/incident"
)

func TestForms(t *testing.T) {
	for name, log := range map[string]string{
		"dmesg": `[    1.000000] nvidia: loading out-of-tree module taints kernel.
[  100.250000] NVRM: GPU at PCI:0000:3b:00: GPU-5d
[  100.500000] NVRM: Xid (PCI:0000:3B:00): 79, pid=77, name=python, GPU has fallen off the bus.
[  101.000000] NVRM: Xid (PCI:0000:5e:00): 999, something new
[  160.750000] NVRM: Xid (PCI:0000:5e:00): 48, pid='<unknown>', name=<unknown>, DBE
`,
		"syslog": `Nov 24 03:12:55 node-7 kernel: [  100.5] NVRM: Xid (PCI:0000:3b:00): 79, pid=77
Nov 24 03:12:55 node-7 kernel: NVRM: Xid (PCI:0000:5e:00): 999, something new
Nov 24 03:13:55 node-7 kernel: NVRM: Xid (PCI:0000:5e:00): 48, pid=1
`,
		"journal": "2025-11-24T03:12:55.100000+0000 node-7 kernel: NVRM: Xid (PCI:0000:3b:00): 79, pid=77\r\n" +
			"2025-11-24T03:12:55.600000+0000 node-7 kernel: NVRM: Xid (PCI:0000:5e:00): 999, new\r\n" +
			"2025-11-24T03:13:55.350000+0000 node-7 kernel: NVRM: Xid (PCI:0000:5e:00): 48, pid=77\r\n",
		"nvml": `{"number":1,"at_ns":500000000,"index":0,"xid":79,"class":"off-bus"}
{"number":2,"at_ns":600000000,"index":0,"class":"throttle"}
{"at_ns":1000000000,"uuid":"GPU-2","xid":999}
{"at_ns":60750000000,"uuid":"GPU-2","xid":48}
`,
	} {
		list, err := incident.Read(strings.NewReader(log))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(list) != 3 || list[0].Class != gpu.OffBus || list[1].Class != 0 || list[1].Xid != 999 || list[2].Class != gpu.MemoryUncontained ||
			list[0].Device == list[1].Device || list[1].Device != list[2].Device || list[0].At != 0 {
			t.Errorf("%s: %+v", name, list)
		}
		if d := list[2].At.Round(time.Second); d != time.Minute {
			t.Errorf("%s: the last comes %v behind the first", name, d)
		}
		if named := name == "syslog" || name == "journal"; named != (list[0].Host == "node-7") {
			t.Errorf("%s: of the host %q", name, list[0].Host)
		}
	}
}

func TestWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ log, wrong string }{
		{"", "line 1: no Xid to the end of the log"},
		{"hello\nworld\n", "line 2: no Xid"},
		{"[ 1.0] NVRM: Xid 79\n", "line 1: an Xid without a place or a number"},
		{"[ 1.0] NVRM: Xid (somewhere): 79\n", `line 1: the place "somewhere"`},
		{"x\n[ 1.0] NVRM: Xid (PCI:0000:3b:00): 0\n", "line 2: the Xid 0"},
		{"[ 1.0] NVRM: Xid (PCI:0000:3b:00): 99999999999999999999\n", "line 1: the Xid 99999999999999999999"},
		{"NVRM: Xid (PCI:0000:3b:00): 79\n", "line 1: an Xid without a time"},
		{"Foo 99 03:12:55 h kernel: NVRM: Xid (PCI:0000:3b:00): 79\n", "line 1: the time Foo 99 03:12:55"},
		{"2025-13-24T03:12:55Z h kernel: NVRM: Xid (PCI:0000:3b:00): 79\n", "line 1: the time 2025-13-24T03:12:55Z"},
		{"[ 9.0] NVRM: Xid (PCI:0000:3b:00): 79\n[ 2.0] NVRM: Xid (PCI:0000:3b:00): 79\n", "line 2: a time 7s before"},
		{"[ 9.0] NVRM: Xid (PCI:0000:3b:00): 79\nNov 24 03:12:55 h kernel: NVRM: Xid (PCI:0000:3b:00): 79\n", "line 2: a time of the day, and those before are since the boot"},
		{"{\"xid\":79}\n", "line 1: an Xid without a time"},
		{"{\"xid\":79,\"at_ns\":5}\n", "line 1: an Xid of no device"},
		{"{\"xid\":\n", "line 1: an object that does not read"},
		{"{\"xid\":-3,\"at_ns\":5,\"index\":1}\n", "line 1: the Xid -3"},
	} {
		list, err := incident.Read(strings.NewReader(c.log))
		var e *incident.Error
		if !errors.As(err, &e) || !strings.HasPrefix(err.Error(), c.wrong) || list != nil {
			t.Errorf("%q: %v; want %s", c.log, err, c.wrong)
		}
	}
	long := "[ 1.0] NVRM: Xid (PCI:0000:3b:00): 79 " + strings.Repeat("x", 70<<10)
	if _, err := incident.Read(strings.NewReader(long)); err == nil || !strings.Contains(err.Error(), "line 1: ") {
		t.Errorf("a line that is too long: %v", err)
	}
}

func ExampleRead() {
	list, err := incident.Read(strings.NewReader("[ 7.0] NVRM: Xid (PCI:0000:3b:00): 94, pid=1\n[ 9.5] NVRM: Xid (PCI:0000:3b:00): 119, pid=1\n"))
	for _, s := range list {
		fmt.Println(s.At, s.Device, s.Class)
	}
	fmt.Println(err)
	// Output:
	// 0s 0000:3b:00 ecc-contained
	// 2.5s 0000:3b:00 gsp
	// <nil>
}

// Whatever is in a log, it is read or refused with a line.
func FuzzRead(f *testing.F) {
	f.Add("[  100.5] NVRM: Xid (PCI:0000:3b:00): 79, pid=77\n")
	f.Add("Nov 24 03:12:55 node-7 kernel: NVRM: Xid (PCI:0000:3b:00): 79\n")
	f.Add("2025-11-24 03:12:55,5+01:00 n kernel: NVRM: Xid (PCI:00000000:3b:00.0): 31\n")
	f.Add("{\"at_ns\":1,\"index\":0,\"xid\":79}\n")
	f.Fuzz(func(t *testing.T, log string) {
		list, err := incident.Read(strings.NewReader(log))
		var e *incident.Error
		switch {
		case err == nil && len(list) == 0:
			t.Error("nothing, and no error")
		case err != nil && (!errors.As(err, &e) || e.Line < 1):
			t.Errorf("an error without a line: %v", err)
		}
		for _, s := range list {
			if s.At < 0 || s.Device == "" || s.Xid < 1 {
				t.Errorf("%+v", s)
			}
		}
	})
}
