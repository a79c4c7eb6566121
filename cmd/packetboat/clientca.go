package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// clientCAs are the CAs whose certificates clients may show, as the file says that they are.
type clientCAs struct {
	file   string
	logger *slog.Logger

	mu      sync.Mutex
	pool    *x509.CertPool
	checked time.Time
	changed time.Time
	made    map[*tls.Config]*tls.Config // what current gave for a base, with pool
}

func openClientCAs(file string, logger *slog.Logger) (*clientCAs, error) {
	ca := &clientCAs{file: file, logger: logger, checked: time.Now()}
	if err := ca.read(); err != nil {
		return nil, fmt.Errorf("reading the CAs of clients (tls.client_ca): %w", err)
	}
	return ca, nil
}

// readCAs reads all certificates of a PEM file.
func readCAs(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no PEM certificate", file)
	}
	return pool, nil
}

func (ca *clientCAs) read() error {
	info, err := os.Stat(ca.file)
	if err != nil {
		return err
	}
	pool, err := readCAs(ca.file)
	if err != nil {
		return err
	}
	ca.pool, ca.changed, ca.made = pool, info.ModTime(), map[*tls.Config]*tls.Config{}
	return nil
}

// config is base with certificates of clients asked for, and verified when one is shown.
func (ca *clientCAs) config(base *tls.Config) *tls.Config {
	conf := base.Clone()
	conf.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return ca.current(base), nil }
	return conf
}

// current is base with the CAs that the file has now. It looks at the file once a minute at most.
func (ca *clientCAs) current(base *tls.Config) *tls.Config {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	if now := time.Now(); now.Sub(ca.checked) > time.Minute {
		ca.checked = now
		if info, err := os.Stat(ca.file); err == nil && !info.ModTime().Equal(ca.changed) {
			if err := ca.read(); err != nil {
				ca.logger.Error("cannot read the new CAs of clients, going on with the old ones", "file", ca.file, "error", err)
			}
		}
	}
	conf := ca.made[base]
	if conf == nil {
		conf = base.Clone()
		conf.ClientAuth, conf.ClientCAs = tls.VerifyClientCertIfGiven, ca.pool
		ca.made[base] = conf
	}
	return conf
}
