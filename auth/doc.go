// Package auth is the one door: whoever wants to be somebody in packetboat, over
// whatever protocol, comes through Door.Login or an Exchange of Door.SASL. The
// throttle, the timing, the limit on sessions and the words of the refusal are
// therefore the same everywhere.
//
// The one idea: every password goes one way, whoever it is for.
//
//	policy ─► failures of the session ─► account's row ─► throttle ─► cache ─► slot ─► hash ─► session.Login
//
// What is no password goes another way to the same end, since it cannot be guessed: a token of ours is found by its hash, one of an issuer is
// verified by the issuer's keys, a certificate was verified by TLS.
//
// What holds:
//
//   - Unknown, disabled and wrong are one answer after the same work: a dummy is hashed for who does not exist.
//   - What is cheap comes before what is costly; no more passwords are hashed at a time than there are
//     CPUs, and those who wait for it or for the throttle are bounded in number and end with their session.
//   - A right token is taken whatever the throttle says; a wrong one is counted like a wrong password.
//   - A change of a credential, made anywhere, makes what is remembered of passwords useless (Account.Epoch).
//   - A password is in no log, no error and no memory but the caller's; what is remembered is a hash under a
//     key that lives as long as the process.
//
// RFC 4422 (SASL, EXTERNAL), RFC 4616 (PLAIN), RFC 5802 and RFC 7677 (SCRAM-SHA-256), RFC 5803 (stored keys), RFC 7628 (OAUTHBEARER), RFC 5929 and
// RFC 9266 (channel binding), RFC 8265 (preparation), RFC 9106 (argon2id).
package auth
