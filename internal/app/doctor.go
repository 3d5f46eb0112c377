package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/access"
	"github.com/telltale-llm/telltale/internal/api"
	"github.com/telltale-llm/telltale/internal/bus"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/gateway"
	"github.com/telltale-llm/telltale/internal/privacy"
)

// Result is how a check of the doctor's ended.
type Result string

// The results. A warning is what works now and may not later.
const (
	CheckOK   Result = "ok"
	CheckWarn Result = "warn"
	CheckFail Result = "fail"
)

// Diagnosis is what a check found, and what to do about it. It holds no secret.
type Diagnosis struct {
	Part   string `json:"part"`
	Result Result `json:"result"`
	Detail string `json:"detail"`
	Hint   string `json:"hint,omitempty"`
}

// DoctorOptions say what is examined.
type DoctorOptions struct {
	Config string // file
	// Asked says that the file was named by the user: it has to be there then. Without it defaults are examined.
	Asked     bool
	Placement config.Placement
	Env       func(string) (string, bool)
	Prices    string
	APIKey    string // for the running server
	// Offline leaves out what asks upstreams and other services.
	Offline bool
	// Timeout bounds each question to another machine: 10 s.
	Timeout time.Duration
}

// doctor gathers findings.
type doctor struct {
	o        DoctorOptions
	server   *config.Server
	running  *api.Status // of the server that has the configuration's API address; nil without
	findings []Diagnosis
}

func (d *doctor) add(part string, r Result, hint, format string, args ...any) {
	d.findings = append(d.findings, Diagnosis{part, r, fmt.Sprintf(format, args...), hint})
}

func (d *doctor) ok(part, format string, args ...any) { d.add(part, CheckOK, "", format, args...) }

// Doctor examines a configuration and the machine, before a server is started or beside it, and changes nothing.
func Doctor(ctx context.Context, o DoctorOptions) ([]Diagnosis, error) {
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	d := &doctor{o: o}
	if err := d.configuration(); err != nil {
		return nil, err
	}
	d.machine()
	if d.server != nil {
		d.serving(ctx)
		d.data()
		d.clients()
		d.certificate()
		d.checkBus(ctx)
		d.checkStore(ctx)
		if !o.Offline {
			d.upstreams(ctx)
			d.ner(ctx)
		}
		d.scorers(ctx)
	}
	d.mask()
	return d.findings, ctx.Err()
}

// mask takes secrets out of findings, whatever brought them there.
func (d *doctor) mask() {
	if d.server == nil {
		return
	}
	for i := range d.findings {
		for _, secret := range d.server.Secrets {
			if len(secret) >= 4 {
				d.findings[i].Detail = strings.ReplaceAll(d.findings[i].Detail, secret, "***")
			}
		}
	}
}

const partConfig = "configuration"

// configuration reads the file. Its mistakes are findings; that there is none where one was named is an error.
func (d *doctor) configuration() error {
	_, err := os.Stat(d.o.Config)
	if errors.Is(err, fs.ErrNotExist) && !d.o.Asked {
		server, err := config.LoadServer(d.o.Config, []byte("{}\n"), config.Options{Env: d.o.Env, Placement: &d.o.Placement})
		if err != nil {
			return err
		}
		d.server = server
		d.add(partConfig, CheckWarn, "telltale serve init writes one to start from; --config names another", "there is no %s: the defaults are examined, which have no route", d.o.Config)
		return nil
	}
	server, err := loadServer(d.o.Config, d.o.Env, &d.o.Placement)
	if err == nil {
		err = errors.Join(gateway.CheckListen(server), checkAPI(server))
	}
	if err == nil {
		rules := server.Privacy
		if len(rules.Key) == 0 {
			rules.Key, rules.KeyID = make([]byte, privacyKeyBytes), ownKeyID
		}
		_, err = privacy.New(rules, privacy.Options{})
	}
	if err != nil {
		if e, ok := errors.AsType[*config.Error](err); ok && e.Key == "--config" {
			return err
		}
		var all config.Errors
		all.Append(config.Pos{File: d.o.Config}, err)
		for _, e := range all {
			d.add(partConfig, CheckFail, "telltale validate "+d.o.Config+" lists all mistakes", "%s", e.Error())
		}
		return nil
	}
	d.server = server
	upstreams := 0
	for i := range server.Routes {
		upstreams += len(server.Routes[i].Upstreams)
	}
	d.ok(partConfig, "%s: %d routes, %d upstreams, %d scorers; roles %s", d.o.Config, len(server.Routes), upstreams, len(server.Scorers), strings.Join(server.Roles, ", "))
	if len(server.Routes) == 0 && server.Has(config.RoleGateway) {
		d.add(partConfig, CheckWarn, "docs/gateway.md describes routes", "there is no route: the gateway answers every request with 404")
	}
	return nil
}

// Files and connections that a server under load has open.
const (
	fewFiles    = 1024
	enoughFiles = 4096
)

func (d *doctor) machine() {
	n, err := openFiles()
	switch {
	case err != nil:
		return // the system has no such limit
	case n < fewFiles:
		d.add("open files", CheckFail, "ulimit -n 65536, or LimitNOFILE=65536 of the systemd unit", "at most %d: each request takes two", n)
	case n < enoughFiles:
		d.add("open files", CheckWarn, "ulimit -n 65536, or LimitNOFILE=65536 of the systemd unit", "at most %d: each request takes two", n)
	default:
		d.ok("open files", "at most %d", n)
	}
}

// settling is how long a running server's parts may look ill.
const settling = 3 * time.Second

// serving asks the server that may be running, or looks whether its addresses are free.
func (d *doctor) serving(ctx context.Context) {
	l := d.server.Listen
	if l.API != "" {
		scheme := "http://"
		if l.TLSCert != "" {
			scheme = "https://"
		}
		if remote, err := NewRemote(scheme+l.API, d.o.APIKey); err == nil {
			ctx, cancel := context.WithTimeout(ctx, d.o.Timeout)
			defer cancel()
			st, err := remote.Status(ctx)
			// A part that is being made looks ill for a moment.
			for end := time.Now().Add(settling); err == nil && !(st.Bus.OK && st.Store.OK) && time.Now().Before(end) && ctx.Err() == nil; {
				waitFor(ctx, 200*time.Millisecond)
				st, err = remote.Status(ctx)
			}
			if err == nil && st.Version != "" {
				d.running = &st
				d.status(&st)
				return
			}
			if e, ok := errors.AsType[*config.Error](err); ok && e.Key == APIKeyEnv {
				d.add("server", CheckWarn, APIKeyEnv+" holds a key with the scope "+config.APIScope, "a server answers at %s and wants a key", l.API)
				return
			}
		}
	}
	for _, a := range []struct{ key, addr, role string }{{"gateway", l.Gateway, config.RoleGateway}, {"api", l.API, ""}, {"otlp_grpc", l.OTLPGRPC, config.RoleIngest}} {
		if a.addr == "" || a.role != "" && !d.server.Has(a.role) {
			continue
		}
		var lc net.ListenConfig
		ln, err := lc.Listen(ctx, "tcp", a.addr)
		if err != nil {
			d.add("listen."+a.key, CheckFail, "another address, or the program that has it ends", "%s: %v", a.addr, err)
			continue
		}
		_ = ln.Close()
		d.ok("listen."+a.key, "%s is free", a.addr)
	}
}

// status tells how the running server is.
func (d *doctor) status(st *api.Status) {
	d.ok("server", "version %s runs since %s; captured %d of %d", st.Version, st.Started.Format(time.RFC3339), st.Capture.Captured, st.Capture.Seen)
	switch {
	case st.ReloadError != "":
		d.add("server", CheckFail, "correct the file; the server takes it by itself", "the last change of its configuration was not taken: %s", st.ReloadError)
	case st.Config != d.server.Hash:
		d.add("server", CheckWarn, "it may have another file, or have been started with another one: see --config", "its configuration (%s) is not %s (%s)", st.Config, d.o.Config, d.server.Hash)
	}
	var lost int64
	for _, n := range st.Capture.Dropped {
		lost += n
	}
	if lost > 0 {
		d.add("server", CheckWarn, "docs/bus.md says what the reasons mean", "%d exchanges were not captured since the start: %v", lost, st.Capture.Dropped)
	}
	for i := range st.Routes {
		for _, u := range st.Routes[i].Upstreams {
			if !u.Healthy {
				d.add("server", CheckWarn, "it is tried again by itself", "upstream %s of route %s is taken out after failures", u.Name, st.Routes[i].Name)
			}
		}
	}
}

const lowDisk = 1 << 30

// data looks at the directory of bus and store.
func (d *doctor) data() {
	dir := d.server.Data
	there := dir
	for { // of what is not made yet the folder above tells
		if _, err := os.Stat(there); err == nil || there == filepath.Dir(there) {
			break
		}
		there = filepath.Dir(there)
	}
	f, err := os.CreateTemp(there, ".doctor-*")
	if err != nil {
		d.add("data", CheckFail, "the user that runs telltale serve needs to write there", "%s: %v", dir, err)
		return
	}
	name := f.Name()
	_, err = f.WriteString("telltale")
	if err = errors.Join(err, f.Sync(), f.Close(), os.Remove(name)); err != nil {
		d.add("data", CheckFail, "is the disk full, or read-only?", "%s: %v", dir, err)
		return
	}
	if there != dir {
		d.ok("data", "%s is made at the first start", dir)
	} else if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&0o077 != 0 && info.Mode().Perm() != 0o777 {
		d.add("data", CheckWarn, "chmod 700 "+dir, "others of this machine can look into %s (%v)", dir, info.Mode().Perm())
	} else {
		d.ok("data", "%s can be written", dir)
	}
	free, err := bus.FreeBytes(there)
	want := uint64(lowDisk)
	if d.server.Bus.URL == "" && usesBus(d.server) {
		want += uint64(max(0, d.server.Bus.MaxBytes))
	}
	switch {
	case err != nil:
		d.add("disk", CheckWarn, "", "free space is not known: %v", err)
	case free < bus.ReserveBytes:
		d.add("disk", CheckFail, "make room: nothing is captured with less than "+bytesText(bus.ReserveBytes), "%s are free", bytesText(free))
	case free < want:
		d.add("disk", CheckWarn, "make room, or lower bus.max_bytes", "%s are free; the bus may take %s, and the store comes on top", bytesText(free), bytesText(uint64(max(0, d.server.Bus.MaxBytes))))
	default:
		d.ok("disk", "%s are free", bytesText(free))
	}
	d.key()
}

// key looks at the key of pseudonyms that a server makes for itself.
func (d *doctor) key() {
	p := &d.server.Privacy
	if len(p.Key) > 0 {
		d.ok("privacy key", "from the configuration, key_id %s", p.KeyID)
		return
	}
	path := filepath.Join(d.server.Data, privacyKeyFile)
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.ok("privacy key", "%s is made at the first start", path)
	case err != nil:
		d.add("privacy key", CheckFail, "the user that runs telltale serve needs to read it", "%v", err)
	case len(b) != 2*privacyKeyBytes:
		d.add("privacy key", CheckFail, "restore it from a backup: with another one people can no longer be found", "%s is no key: it has %d bytes, not %d", path, len(b), 2*privacyKeyBytes)
	default:
		d.ok("privacy key", "%s; keep a copy of it", path)
	}
}

// clients looks at the clients' keys.
func (d *doctor) clients() {
	keys, err := access.Open(access.Options{File: d.server.Access.File, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		d.add("client keys", CheckFail, "telltale keys list shows them", "%v", err)
		return
	}
	live, api := 0, false
	for _, k := range keys.Entries() {
		if !k.Revoked && (k.Expires.IsZero() || k.Expires.After(time.Now())) {
			live++
			client := keys.Client(k.Name)
			api = api || client != nil && client.Scoped(config.APIScope)
		}
	}
	switch {
	case !d.server.Access.Require:
		d.ok("client keys", "none is asked for; %d are known", live)
	case live == 0:
		d.add("client keys", CheckWarn, "telltale keys add NAME makes one", "keys are asked for, and there is none in %s: nobody is served", d.server.Access.File)
	case !api:
		d.add("client keys", CheckWarn, "telltale keys add NAME --route "+config.APIScope+" makes one", "%d keys, none of which may use the API and the metrics", live)
	default:
		d.ok("client keys", "%d keys", live)
	}
}

const soon = 14 * 24 * time.Hour

func (d *doctor) certificate() {
	l := d.server.Listen
	if l.TLSCert == "" {
		return
	}
	pair, err := tls.LoadX509KeyPair(l.TLSCert, l.TLSKey)
	if err != nil {
		d.add("certificate", CheckFail, "PEM files that belong together", "%v", err)
		return
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	switch {
	case err != nil:
		d.add("certificate", CheckFail, "", "%v", err)
	case time.Now().After(leaf.NotAfter) || time.Now().Before(leaf.NotBefore):
		d.add("certificate", CheckFail, "renew it; a running server takes the new files with SIGHUP", "valid from %s to %s", leaf.NotBefore.Format(time.DateOnly), leaf.NotAfter.Format(time.DateOnly))
	case time.Until(leaf.NotAfter) < soon:
		d.add("certificate", CheckWarn, "renew it", "valid to %s", leaf.NotAfter.Format(time.DateOnly))
	default:
		d.ok("certificate", "valid to %s", leaf.NotAfter.Format(time.DateOnly))
	}
}

func bytesText(n uint64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d bytes", n)
}
