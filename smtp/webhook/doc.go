// Package webhook tells another program by HTTP what happens in the queue.
//
// The one idea: events are rows that were written in the transaction that they tell of (storage.Event); the worker posts what is there, and removes what was
// taken. So nothing is told that did not happen, and nothing that happened is forgotten: each event is told once or more, and a crash costs a repetition.
//
// A POST carries up to 100 events, in the order in which they happened, as {"events": [...]}. It is signed in the manner of the Standard Webhooks specification: Webhook-Id,
// Webhook-Timestamp (Unix seconds) and Webhook-Signature "v1,BASE64", the HMAC-SHA256 of "ID.TIMESTAMP.BODY". 2xx takes the events. 410 gives them up: they are not told again,
// later ones are. All else, redirects too (they are not followed), is tried again with growing pauses until Options.GiveUp.
package webhook
