// Package sessiontest is for tests of whatever speaks over a session: a registry on loopback that
// looks for leaks at the end, a certificate, and a player of scripts in which several clients
// of several protocols talk to servers.
//
// The one idea: what a peer can see is tested by a script that reads like a transcript.
//
//	# A message that joe sends appears to ann, who waits in IDLE (RFC 2177).
//	ann = imap                              open a connection of kind imap (Env.Dial); a second one closes the first
//	ann< * OK *                             the next line must match
//	ann> a1 LOGIN ann@example.test secret   send a line; CRLF is added
//	ann<< a1 OK *                           skip lines until one matches
//	ann> a2 IDLE
//	ann< + *
//	ann<~ 50                                nothing comes for 50 ms
//	joe = smtp
//	joe<< 220 *
//	joe starttls                            TLS handshake, with Env.TLS
//	joe> <<END                              several lines, up to END
//	EHLO joe
//	MAIL FROM:<joe@example.test>
//	END
//	joe>- "DATA\r\nno end"                  send exactly this (a Go string)
//	joe<- "250-"                            the next bytes must be exactly these
//	ann session state=idle open=INBOX       wait until the session list says so (needs Env.Registry)
//	! deliver ann "two words"               call Env.Do["deliver"]
//	ann kill                                Session.Kill(ErrKilled) for ann's session (needs Env.Registry)
//	ann< \* BYE *
//	ann< EOF                                the server ended the stream in good order
//	joe< CLOSED                             the connection is gone, in whatever way
//	joe close                               close the client's end; closewrite ends only what it sends
//	sleep 20                                milliseconds; to be avoided
//	timeout 20                              seconds that each wait below may last; 5 at the start
//
// A pattern covers the whole line. In it * matches any run of characters, also none; {name} matches
// at least one and keeps them as a variable, which later lines use as $name or ${name}; \*, \{, \$ and \\ are the
// characters themselves. Braces with a number, as in an IMAP literal, are ordinary, and so is $name when there is no such
// variable. Lines must end in CRLF: a bare LF fails.
//
// "ann< <<END" expects several lines, each by its pattern. Lines that start with # and empty ones are ignored, leading
// space too; in <<END blocks, as much leading space is removed as the statement itself has.
//
// On failure the test shows the line of the script and everything that was said until then.
package sessiontest
