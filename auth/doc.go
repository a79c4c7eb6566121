// Package auth is the one door: whoever wants to be somebody in packetboat, over
// whatever protocol, comes through Door.Login or an Exchange of Door.SASL. The
// throttle, the timing, the limit on sessions and the words of the refusal are
// therefore the same everywhere.
package auth
