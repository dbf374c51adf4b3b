package command

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/esper-sim/espersim/contracts/durations"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	pausev2 "github.com/esper-sim/espersim/contracts/generated/go/pause/v2"
	"github.com/esper-sim/espersim/contracts/wire"
)

// Authentic checks a confirmation's own auth, or its envelope's if it has
// none, and returns the one that holds.
func Authentic(m *adaptationv2.CommandConfirm, e *envelopev2.EventEnvelope, key []byte) (*envelopev2.Auth, bool) {
	if a := m.Auth; a != nil {
		sum := a.HmacSha256
		a.HmacSha256 = nil
		mac := hmac.New(sha256.New, key)
		mac.Write(m.AppendCanonical(nil))
		a.HmacSha256 = sum
		return a, hmac.Equal(mac.Sum(nil), sum) && len(a.Nonce) == wire.NonceSize && a.SignedAt.IsValid()
	}
	if e == nil || wire.Verify(e, key) != nil {
		return nil, false
	}
	return e.Auth, true
}

// SignConfirm fills a confirmation's auth, whose nonce and time are set.
func SignConfirm(m *adaptationv2.CommandConfirm, key []byte) {
	m.Auth.HmacSha256 = nil
	mac := hmac.New(sha256.New, key)
	mac.Write(m.AppendCanonical(nil))
	m.Auth.HmacSha256 = mac.Sum(nil)
}

// SignToken signs a pause token in place.
func SignToken(t *pausev2.PauseToken, key []byte) {
	t.Signature = nil
	mac := hmac.New(sha256.New, key)
	mac.Write(t.AppendCanonical(nil))
	t.Signature = mac.Sum(nil)
}

// Token decodes and checks the token of a pause command: signature, expiry,
// and that the pause is no longer than it permits.
func Token(c *adaptationv2.PauseCommand, key []byte, now time.Time, skew time.Duration) (*pausev2.PauseToken, error) {
	if len(c.PauseToken) == 0 {
		return nil, errors.New("there is no pause token")
	}
	t := new(pausev2.PauseToken)
	if err := t.ParseCanonical(append([]byte(nil), c.PauseToken...)); err != nil {
		return nil, fmt.Errorf("pause token: %w", err)
	}
	signature := t.Signature
	t.Signature = nil
	mac := hmac.New(sha256.New, key)
	mac.Write(t.AppendCanonical(nil))
	t.Signature = signature
	switch {
	case !hmac.Equal(mac.Sum(nil), signature):
		return nil, errors.New("the pause token has no valid signature")
	case !t.ExpiresAt.IsValid() || t.ExpiresAt.AsTime().Before(now):
		return nil, errors.New("the pause token has expired")
	case t.IssuedAt.IsValid() && t.IssuedAt.AsTime().After(now.Add(skew)):
		return nil, errors.New("the pause token is of the future")
	case c.Pause && t.MaxDuration != nil && !durations.Within(durations.From(time.Duration(c.MaxDurationMs)*time.Millisecond), t.MaxDuration):
		permitted, _ := durations.To(t.MaxDuration) // shorter than the pause, so it is one
		return nil, fmt.Errorf("the pause token permits %v", permitted)
	}
	return t, nil
}
