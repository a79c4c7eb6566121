package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"
)

// configName is the file in the data folder.
const configName = "packetboat.toml"

// configFlags are the flags that say where the configuration is and what overrides it.
type configFlags struct {
	data string
	set  []string

	// of serve alone; "" means not given
	listen, domain, basePort string
}

// setting is the value of a key and where it came from.
type setting struct {
	value string
	from  string // "default", "flag --domain", "environment PACKETBOAT_DOMAIN", "packetboat.toml:12"
}

// settings by key name.
type settings map[string]setting

// dataDir is the data folder as an absolute path.
func (f *configFlags) dataDir() (string, error) {
	d := f.data
	if d == "" {
		d = os.Getenv("PACKETBOAT_DATA")
	}
	if d == "" {
		d = "packetboat-data"
	}
	return filepath.Abs(d)
}

// load reads the configuration: defaults, then the file in dir (if there is one), then the
// environment, then --set, then the flags of their own; the later wins.
func (f *configFlags) load(dir string) (*config, settings, error) {
	all := settings{}
	for _, k := range keys {
		all[k.name] = setting{k.def, "default"}
	}
	file := filepath.Join(dir, configName)
	if err := readFile(file, all); err != nil {
		return nil, nil, err
	}
	for _, k := range keys {
		env := "PACKETBOAT_" + strings.ToUpper(strings.ReplaceAll(k.name, ".", "_"))
		if v, ok := os.LookupEnv(env); ok {
			all[k.name] = setting{v, "environment " + env}
		}
	}
	for _, s := range f.set {
		name, v, ok := strings.Cut(s, "=")
		name = strings.TrimSpace(name)
		if _, known := keyNamed(name); !ok || !known {
			return nil, nil, usageError{fmt.Errorf("--set %s: %s", s, unknownKey(name, ok))}
		}
		all[name] = setting{strings.TrimSpace(v), "flag --set " + name}
	}
	for name, v := range map[string]string{"listen": f.listen, "domain": f.domain, "base_port": f.basePort} {
		if v != "" {
			all[name] = setting{v, "flag --" + strings.ReplaceAll(name, "_", "-")}
		}
	}
	c := &config{}
	for _, k := range keys {
		s := all[k.name]
		if err := k.set(c, s.value); err != nil {
			err = fmt.Errorf("%s: %s = %q: %w", s.from, k.name, shown(k.name, s.value), err)
			if strings.HasPrefix(s.from, "flag") {
				err = usageError{err}
			}
			return nil, nil, err
		}
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return nil, nil, fmt.Errorf("tls.cert and tls.key go together: give both or neither")
	}
	if err := checkPorts(c, all); err != nil {
		return nil, nil, err
	}
	if len(c.Fronted) > 0 && len(c.FrontEnds) == 0 {
		return nil, nil, fmt.Errorf("%s: proxy.listeners = %q: there must be front ends then: name them in proxy.trusted", all["proxy.listeners"].from, all["proxy.listeners"].value)
	}
	if c.OIDC.Issuer != "" {
		if err := c.OIDC.Check(); err != nil {
			return nil, nil, fmt.Errorf("%s: auth.oidc.issuer: %w", all["auth.oidc.issuer"].from, err)
		}
	}
	if c.Hostname == "" {
		c.Hostname = "mail." + c.Domain
	}
	return c, all, nil
}

// checkPorts sees that no two things want the same port.
func checkPorts(c *config, all settings) error {
	taken := map[int]string{}
	passive := c.passive()
	for _, l := range listenerTable {
		port, key := c.port(l), "ports."+l.name
		switch other, ok := taken[port]; {
		case port == 0:
			continue
		case ok:
			at := all[key].from
			if at == "default" {
				key, at = other, all[other].from
			}
			return fmt.Errorf("%s: %s = %q: ports.%s and %s would both be port %d; give one of them another", at, key, all[key].value, l.name, other, port)
		case passive.First <= port && port <= passive.Last:
			return fmt.Errorf("%s: ftp.passive_ports: port %d of %s is one of %d-%d; choose another range", all["ftp.passive_ports"].from, port, key, passive.First, passive.Last)
		}
		taken[port] = key
	}
	return nil
}

// checkCertificate reads the operator's certificate, its key and the CAs of clients, if the configuration names any.
func checkCertificate(c *config, all settings) error {
	if c.TLSClientCA != "" {
		if _, err := readCAs(c.TLSClientCA); err != nil {
			return fmt.Errorf("%s: tls.client_ca = %q: %w", all["tls.client_ca"].from, c.TLSClientCA, err)
		}
	}
	if c.TLSCert == "" {
		return nil
	}
	if _, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey); err != nil {
		return fmt.Errorf("%s: tls.cert = %q, tls.key = %q: %w", all["tls.cert"].from, c.TLSCert, c.TLSKey, err)
	}
	return nil
}

func unknownKey(name string, hasValue bool) string {
	if !hasValue {
		return "want section.key=value"
	}
	return fmt.Sprintf("no such key %q%s; packetboat config print lists them", name, nearest(name))
}

// nearest suggests a key that looks like name.
func nearest(name string) string {
	_, last, _ := strings.Cut("."+name, ".")
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		last = name[i+1:]
	}
	for _, k := range keys {
		if strings.HasSuffix(k.name, "."+last) || k.name == last || strings.TrimSuffix(k.name, "s") == strings.TrimSuffix(name, "s") {
			return fmt.Sprintf(" (did you mean %q?)", k.name)
		}
	}
	return ""
}

// readFile overlays what the file says. Each error names file, line and key.
func readFile(file string, all settings) error {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the configuration: %w", err)
	}
	var tree map[string]any
	if _, err := toml.Decode(string(text), &tree); err != nil {
		var pe toml.ParseError
		if errors.As(err, &pe) {
			return fmt.Errorf("%s:%d: %s", file, pe.Position.Line, pe.Message)
		}
		return fmt.Errorf("%s: %w", file, err)
	}
	flat := map[string]any{}
	flatten("", tree, flat)
	names := make([]string, 0, len(flat))
	for name := range flat {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		at := fmt.Sprintf("%s:%d", file, lineOf(text, name))
		if _, ok := keyNamed(name); !ok {
			return fmt.Errorf("%s: no such key %q%s; remove the line, or see packetboat config print for all keys", at, name, nearest(name))
		}
		v, err := scalar(flat[name])
		if err != nil {
			return fmt.Errorf("%s: %s: %w", at, name, err)
		}
		all[name] = setting{v, at}
	}
	return nil
}

func flatten(prefix string, tree map[string]any, into map[string]any) {
	for k, v := range tree {
		if sub, ok := v.(map[string]any); ok && len(sub) > 0 {
			flatten(prefix+k+".", sub, into)
			continue
		}
		if sub, ok := v.(map[string]any); ok && len(sub) == 0 && sectionExists(prefix+k) {
			continue
		}
		into[prefix+k] = v
	}
}

func sectionExists(name string) bool {
	for _, k := range keys {
		if strings.HasPrefix(k.name, name+".") {
			return true
		}
	}
	return false
}

// scalar writes a TOML value as the key table reads it.
func scalar(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case bool:
		if v {
			return "on", nil
		}
		return "off", nil
	case int64, float64:
		return fmt.Sprint(v), nil
	case []map[string]any: // [[section.key]]
		var all []any
		for _, t := range v {
			all = append(all, t)
		}
		return scalar(all)
	case map[string]any: // {for = "10.0.0.0/8", address = "10.0.0.5"}
		client, ok1 := v["for"].(string)
		address, ok2 := v["address"].(string)
		if !ok1 || !ok2 || len(v) != 2 {
			return "", fmt.Errorf("want {for = NETWORK, address = ADDRESS}, both as strings")
		}
		return client + "=" + address, nil
	case []any:
		var parts []string
		for _, e := range v {
			s, err := scalar(e)
			if err != nil {
				return "", err
			}
			parts = append(parts, s)
		}
		return strings.Join(parts, ", "), nil
	}
	return "", fmt.Errorf("want a string, a number or a list of strings")
}

// lineOf finds the line on which a key stands; the decoder does not tell.
func lineOf(text []byte, name string) int {
	section := ""
	sc := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; sc.Scan(); n++ {
		line := strings.TrimSpace(sc.Text())
		if strings.HasPrefix(line, "[") {
			section = strings.Trim(strings.TrimSpace(strings.SplitN(line, "#", 2)[0]), "[] ") + "."
			if section == name+"." {
				return n
			}
			continue
		}
		k, _, ok := strings.Cut(line, "=")
		k = strings.Trim(strings.TrimSpace(k), `"'`)
		if ok && (section+k == name || strings.HasPrefix(name, section+k+".")) {
			return n
		}
	}
	return 1
}

// template is the file that a first start writes: every key with its meaning, defaults commented out.
// What --domain, --base-port and --listen of that start said is written down, so that the next start needs none of
// them; --set is for one start.
func template(all settings) string {
	var b strings.Builder
	b.WriteString("# packetboat: every key with its default. Flags win over the environment\n" +
		"# (PACKETBOAT_SECTION_KEY), which wins over this file. Check it: packetboat config check.\n")
	section := ""
	for _, k := range keys {
		name := k.name
		if s, rest, ok := strings.Cut(k.name, "."); ok {
			if s != section {
				fmt.Fprintf(&b, "\n[%s]\n", s)
				section = s
			}
			name = rest
		}
		fmt.Fprintf(&b, "\n# %s\n", k.doc)
		s := all[k.name]
		if strings.HasPrefix(s.from, "flag --") && !strings.HasPrefix(s.from, "flag --set") {
			fmt.Fprintf(&b, "%s = %s\n", name, tomlValue(s.value))
		} else {
			fmt.Fprintf(&b, "#%s = %s\n", name, tomlValue(k.def))
		}
	}
	return b.String()
}

func tomlValue(v string) string {
	if v != "" && strings.Trim(v, "0123456789") == "" {
		return v
	}
	return fmt.Sprintf("%q", v)
}

func (p *program) configVerb() *cobra.Command {
	return group(&cobra.Command{Use: "config", Short: "Check or print the configuration"}, &cobra.Command{
		Use:   "check",
		Short: "Read the configuration and say whether it is right",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			dir, err := p.flags.dataDir()
			if err != nil {
				return err
			}
			c, all, err := p.flags.load(dir)
			if err != nil {
				return err
			}
			if err := checkCertificate(c, all); err != nil {
				return err
			}
			file := filepath.Join(dir, configName)
			if p.json {
				return p.printJSON(map[string]any{"ok": true, "file": file})
			}
			if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
				fmt.Fprintf(p.stdout, "%s does not exist yet: defaults are used\n", file)
				return nil
			}
			fmt.Fprintf(p.stdout, "%s is good\n", file)
			return nil
		},
	}, &cobra.Command{
		Use:   "print",
		Short: "Print every key, its value and where the value comes from",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			dir, err := p.flags.dataDir()
			if err != nil {
				return err
			}
			_, all, err := p.flags.load(dir)
			if err != nil {
				return err
			}
			if p.json {
				out := map[string]map[string]string{}
				for name, s := range all {
					out[name] = map[string]string{"value": shown(name, s.value), "from": s.from}
				}
				return p.printJSON(out)
			}
			rows := [][]string{{"KEY", "VALUE", "FROM"}}
			for _, k := range keys {
				rows = append(rows, []string{k.name, shown(k.name, all[k.name].value), all[k.name].from})
			}
			return p.table(rows)
		},
	})
}

// shown is a value as it may be printed: a secret is not.
func shown(name, value string) string {
	if value != "" && (strings.HasSuffix(name, "secret") || strings.HasSuffix(name, "password")) {
		return "(set)"
	}
	return value
}
