package ftp

// flags are the policy of a command.
type flags uint8

const (
	preAuth flags = 1 << iota // may come before login
	needArg                   // 501 without an argument
	secret                    // the argument is shown nowhere
	creates                   // stores or renames a file: 553 is among its replies (RFC 959 section 5.4)
	alias                     // not in HELP
)

// command is a row of the table. One of run and prepare is set.
type command struct {
	name   string
	flags  flags
	syntax string // of the argument, for HELP

	run func(c *client, arg string)
	// prepare checks the command and returns the transfer to start, or an error with its reply.
	prepare func(c *client, arg string) (*transfer, error)
}

// commandTable is every command, in the order in which HELP shows them.
func commandTable() []*command {
	return []*command{
		// Access control: RFC 959 section 4.1.1, RFC 4217, RFC 2228.
		{name: "USER", flags: preAuth | needArg, syntax: "name", run: (*client).cmdUser},
		{name: "PASS", flags: preAuth | secret, syntax: "password", run: (*client).cmdPass},
		{name: "ACCT", flags: preAuth | needArg | secret | alias, syntax: "account", run: refused(202, "Accounts are not used here.")},
		{name: "HOST", flags: preAuth | needArg, syntax: "host", run: (*client).cmdHost}, // RFC 7151
		{name: "REIN", flags: preAuth, run: (*client).cmdRein},
		{name: "QUIT", flags: preAuth, run: (*client).cmdQuit},
		{name: "AUTH", flags: preAuth | needArg, syntax: "TLS", run: (*client).cmdAuth},
		{name: "PBSZ", flags: preAuth | needArg, syntax: "0", run: (*client).cmdPbsz},
		{name: "PROT", flags: preAuth | needArg, syntax: "P|C", run: (*client).cmdProt},
		{name: "CCC", flags: preAuth | alias, run: (*client).cmdCcc},
		{name: "ADAT", flags: preAuth | secret | alias, run: refused(503, "AUTH TLS needs no ADAT.")},
		{name: "MIC", flags: preAuth | secret | alias, run: refused(502, "Not implemented.")},
		{name: "CONF", flags: preAuth | secret | alias, run: refused(502, "Not implemented.")},
		{name: "ENC", flags: preAuth | secret | alias, run: refused(502, "Not implemented.")},

		// What the server is and can do.
		{name: "FEAT", flags: preAuth, run: (*client).cmdFeat},
		{name: "OPTS", flags: preAuth | needArg, syntax: "UTF8 ON | MLST facts | HASH algorithm", run: (*client).cmdOpts},
		{name: "HELP", flags: preAuth, syntax: "[command]", run: (*client).cmdHelp},
		{name: "LANG", flags: preAuth, syntax: "[EN]", run: (*client).cmdLang}, // RFC 2640
		{name: "SYST", flags: preAuth, run: (*client).cmdSyst},
		{name: "STAT", syntax: "[path]", run: (*client).cmdStat},
		{name: "CLNT", flags: preAuth | needArg, syntax: "client", run: (*client).cmdClnt},
		{name: "CSID", flags: preAuth | needArg, syntax: "name=value;...", run: (*client).cmdCsid},
		{name: "NOOP", flags: preAuth, run: refused(200, "OK.")},
		{name: "AVBL", syntax: "[path]", run: (*client).cmdAvbl},
		{name: "SITE", flags: preAuth | needArg, syntax: "command [...]", run: (*client).cmdSite},

		// Transfer parameters: RFC 959 section 4.1.2, RFC 2428.
		{name: "TYPE", flags: preAuth | needArg, syntax: "I | A [N] | L 8", run: (*client).cmdType},
		{name: "STRU", flags: needArg, syntax: "F", run: (*client).cmdStru},
		{name: "MODE", flags: needArg, syntax: "S", run: (*client).cmdMode},
		{name: "ALLO", flags: needArg, syntax: "bytes [R record]", run: (*client).cmdAllo},
		{name: "REST", flags: needArg, syntax: "offset", run: (*client).cmdRest},
		{name: "RANG", flags: needArg, syntax: "first last", run: (*client).cmdRang},
		{name: "PASV", run: (*client).cmdPasv},
		{name: "EPSV", syntax: "[1|2|ALL]", run: (*client).cmdEpsv},
		{name: "PORT", flags: needArg, syntax: "h1,h2,h3,h4,p1,p2", run: (*client).cmdPort},
		{name: "EPRT", flags: needArg, syntax: "|1|address|port|", run: (*client).cmdEprt},

		// Transfers.
		{name: "RETR", flags: needArg, syntax: "path", prepare: (*client).cmdRetr},
		{name: "STOR", flags: needArg | creates, syntax: "path", prepare: (*client).cmdStor},
		{name: "APPE", flags: needArg | creates, syntax: "path", prepare: (*client).cmdAppe},
		{name: "STOU", flags: creates, syntax: "[path]", prepare: (*client).cmdStou},
		{name: "LIST", syntax: "[-flags] [path]", prepare: (*client).cmdList},
		{name: "NLST", syntax: "[-flags] [path]", prepare: (*client).cmdNlst},
		{name: "MLSD", syntax: "[path]", prepare: (*client).cmdMlsd},
		{name: "MLST", syntax: "[path]", run: (*client).cmdMlst},
		{name: "HASH", flags: needArg, syntax: "path", prepare: (*client).cmdHash},
		{name: "XCRC", flags: needArg, syntax: xSyntax, prepare: cmdX("XCRC", "CRC32")},
		{name: "XMD5", flags: needArg, syntax: xSyntax, prepare: cmdX("XMD5", "MD5")},
		{name: "XSHA", flags: needArg, syntax: xSyntax, prepare: cmdX("XSHA", "SHA-1")},
		{name: "XSHA1", flags: needArg, syntax: xSyntax, prepare: cmdX("XSHA1", "SHA-1")},
		{name: "XSHA256", flags: needArg, syntax: xSyntax, prepare: cmdX("XSHA256", "SHA-256")},
		{name: "XSHA512", flags: needArg, syntax: xSyntax, prepare: cmdX("XSHA512", "SHA-512")},
		{name: "MD5", flags: needArg, syntax: "path", prepare: (*client).cmdMd5},
		{name: "ABOR", run: (*client).cmdAbor},

		// Files and folders.
		{name: "PWD", run: (*client).cmdPwd},
		{name: "CWD", flags: needArg, syntax: "path", run: (*client).cmdCwd},
		{name: "CDUP", run: (*client).cmdCdup},
		{name: "MKD", flags: needArg, syntax: "path", run: (*client).cmdMkd},
		{name: "RMD", flags: needArg, syntax: "path", run: (*client).cmdRmd},
		{name: "DELE", flags: needArg, syntax: "path", run: (*client).cmdDele},
		{name: "RNFR", flags: needArg, syntax: "path", run: (*client).cmdRnfr},
		{name: "RNTO", flags: needArg | creates, syntax: "path", run: (*client).cmdRnto},
		{name: "SIZE", flags: needArg, syntax: "path", run: (*client).cmdSize},
		{name: "MDTM", flags: needArg, syntax: "path", run: (*client).cmdMdtm},
		{name: "MFMT", flags: needArg, syntax: "YYYYMMDDHHMMSS path", run: (*client).cmdMfmt},
		{name: "MFF", flags: needArg, syntax: "fact=value;... path", run: (*client).cmdMff},

		// RFC 1123 section 4.1.3.1: the X forms are aliases.
		{name: "XPWD", flags: alias, run: (*client).cmdPwd},
		{name: "XCWD", flags: needArg | alias, syntax: "path", run: (*client).cmdCwd},
		{name: "XCUP", flags: alias, run: (*client).cmdCdup},
		{name: "XMKD", flags: needArg | alias, syntax: "path", run: (*client).cmdMkd},
		{name: "XRMD", flags: needArg | alias, syntax: "path", run: (*client).cmdRmd},
		{name: "SMNT", flags: alias, run: refused(502, "Not implemented.")},

		// What others have and is not to be had here: HELP does not show it.
		{name: "MFCT", flags: needArg | alias, syntax: "YYYYMMDDHHMMSS path", run: refused(502, "Times of creation cannot be set.")},
		{name: "COMB", flags: needArg | alias, syntax: "target parts", run: refused(502, "Not implemented: use APPE, or RANG and STOR.")},
	}
}

// xSyntax is that of the commands that digest a file.
const xSyntax = `path, or "path" [first end]`

// refused always answers the same.
func refused(code int, text string) func(*client, string) {
	return func(c *client, _ string) { c.reply(code, text) }
}
