package tezzeret

import "time"

// The shares of the device's time that compilation may take (card 06): training
// shares the device.
const (
	mostShare         = 0.25
	conservativeShare = 0.15
	highShare         = 0.2             // for so long is a reason to be conservative:
	highFor           = 5 * time.Minute //
	shareWindow       = time.Minute     // that a share is taken of

	// parts is how many of a pass there are for each that is spent on the device:
	// there the compiler tries what it has made.
	parts = 3
	// slowest is how many times as long as it should a pass takes on a device that
	// is slow. One that takes longer has been interrupted.
	slowest = 10
)

// onDevice is how much of a pass's time was the device's. cost is how long the pass
// takes on a device that is well. A process that stood still in the middle of a
// pass has used nothing meanwhile: were it counted, nothing would be compiled for
// as long again.
func onDevice(took, cost time.Duration) time.Duration {
	return min(took, slowest*cost) / parts
}

// use is a time of the device that was taken.
type use struct {
	at   time.Duration // monotonic, of its end
	took time.Duration
}

// share follows how much of the device's time compilation takes. It lives in
// memory: a restart finds a device that it has not used.
type share struct {
	uses  []use // of the last window
	next  time.Duration
	since time.Duration // from when on the share has been high
	high  bool
}

// note enters a use of took that began at a time and has ended now: the next is to
// wait until the share is below most again.
func (s *share) note(began, now, took time.Duration, most float64) {
	s.uses = append(s.uses, use{now, took})
	s.next = max(s.next, began) + time.Duration(float64(took)/most)
	s.judge(now)
}

// wait is how long the next use is to wait.
func (s *share) wait(now time.Duration) time.Duration { return max(s.next-now, 0) }

// of is the share of the last window.
func (s *share) of(now time.Duration) float64 {
	for len(s.uses) > 0 && now-s.uses[0].at >= shareWindow {
		s.uses = s.uses[1:]
	}
	sum := time.Duration(0)
	for _, u := range s.uses {
		sum += u.took
	}
	return float64(sum) / float64(shareWindow)
}

// judge says whether the share has been high for long.
func (s *share) judge(now time.Duration) bool {
	high := s.of(now) > highShare
	if high && !s.high {
		s.since = now
	}
	s.high = high
	return high && now-s.since >= highFor
}
