package config

import (
	"slices"
	"strings"
)

// The roles of a server's process.
const (
	RoleGateway = "gateway" // passes requests on and captures them
	RoleIngest  = "ingest"  // takes OpenTelemetry and JSON
	RoleWorker  = "worker"  // scores, sums up and stores what is on the bus
	RoleControl = "control" // decides about rollouts
	RoleAPI     = "api"     // answers from the store
)

// Roles are all roles, which a process has when nothing else is said.
var Roles = [...]string{RoleGateway, RoleIngest, RoleWorker, RoleControl, RoleAPI}

// Has says whether the process has a role. Without any it has all.
func (s *Server) Has(role string) bool { return len(s.Roles) == 0 || slices.Contains(s.Roles, role) }

// Split says that some roles are left to other processes.
func (s *Server) Split() bool { return len(s.Roles) > 0 && len(s.Roles) < len(Roles) }

// Placement is what of a server's configuration the command line may say instead: it differs between processes that share
// a file.
type Placement struct {
	Roles []string // --role
	Bus   string   // --nats, bus.url
	Store string   // --store, store.url
}

// place puts what the command line says over what the file says.
func (l *serverLoader) place(file string, w *wireServer) {
	l.rolesAt = Pos{File: file, Key: "roles"}
	if p := l.opts.Placement; p != nil {
		if len(p.Roles) > 0 {
			w.Roles, l.rolesAt = p.Roles, Pos{Key: "--role"}
		}
		if p.Bus != "" {
			if w.Bus == nil {
				w.Bus = &wireBus{Pos: Pos{File: file, Key: "bus"}}
			}
			w.Bus.URL = wireText{Text: p.Bus, Pos: Pos{Key: "--nats"}}
		}
		if p.Store != "" {
			if w.Store == nil {
				w.Store = &wireStoreWhere{Pos: Pos{File: file, Key: "store"}}
			}
			w.Store.URL = wireText{Text: p.Store, Pos: Pos{Key: "--store"}}
		}
	}
}

// roles reads the roles of the process, in the order of Roles.
func (l *serverLoader) roles(names []string) []string {
	if len(names) == 0 {
		return slices.Clone(Roles[:])
	}
	for _, name := range names {
		l.choice(l.rolesAt, name, Roles[:]...)
	}
	return slices.DeleteFunc(slices.Clone(Roles[:]), func(r string) bool { return !slices.Contains(names, r) })
}

// together checks that the process can do its part: what it leaves to others has to reach them.
func (l *serverLoader) together(s *Server) {
	if len(s.Roles) == 0 { // none of them exists, which has been said
		return
	}
	named := strings.Join(s.Roles, ",")
	const external = "--nats nats://HOST:PORT or bus.url, a NATS server that all processes share"
	const shared = "--store clickhouse://HOST:PORT/DATABASE or store.url, or the roles worker and api in one process"
	sends := s.Has(RoleGateway) || s.Has(RoleIngest)
	switch worker := s.Has(RoleWorker); {
	case sends && !worker && s.Bus.URL == "":
		l.fail(l.rolesAt, named, "no worker would get the exchanges: the bus is inside this process", external)
	case worker && !sends && s.Bus.URL == "":
		l.fail(l.rolesAt, named, "there would be nothing to work on: the bus is inside this process, and neither gateway nor ingest is", external)
	case s.Has(RoleControl) && !worker && s.Bus.URL == "":
		l.fail(l.rolesAt, named, "there would be nothing to decide on: the bus is inside this process, and no worker is", external)
	}
	switch {
	case s.Has(RoleAPI) && !s.Has(RoleWorker) && s.Store.URL == "":
		l.fail(l.rolesAt, named, "DuckDB can be opened by one process only, which is the worker's", shared)
	case s.Has(RoleWorker) && !s.Has(RoleAPI) && s.Store.URL == "":
		l.fail(l.rolesAt, named, "nobody could read what is stored: DuckDB can be opened by one process only", shared)
	}
	// Without a key of their own in the configuration each process would make one, and call a person by another name.
	if s.Split() && len(s.Privacy.Key) == 0 {
		l.fail(l.rolesAt, named, "the processes need one key for pseudonyms and sampling, and there is none in the configuration", "privacy.key_env or privacy.key_file")
	}
	if s.Split() && s.Has(RoleGateway) && s.Listen.Gateway == "" {
		l.fail(l.rolesAt, named, "the gateway has no address", "listen.gateway: HOST:PORT")
	}
	if s.Split() && s.Has(RoleIngest) && s.Listen.API == "" && s.Listen.OTLPGRPC == "" {
		l.fail(l.rolesAt, named, "ingest has no address", "listen.api or listen.otlp_grpc: HOST:PORT")
	}
	if s.Split() && s.Has(RoleAPI) && s.Listen.API == "" {
		l.fail(l.rolesAt, named, "the API has no address", "listen.api: HOST:PORT")
	}
}
