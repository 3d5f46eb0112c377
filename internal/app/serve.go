package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/telltale-llm/telltale/internal/access"
	"github.com/telltale-llm/telltale/internal/api"
	"github.com/telltale-llm/telltale/internal/bus"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/gateway"
	"github.com/telltale-llm/telltale/internal/loopback"
	"github.com/telltale-llm/telltale/internal/otlp"
	"github.com/telltale-llm/telltale/internal/pipeline"
	"github.com/telltale-llm/telltale/internal/privacy"
	"github.com/telltale-llm/telltale/internal/provider"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/store"
)

// ServeOptions are what telltale serve needs besides its configuration.
type ServeOptions struct {
	Config string // file
	// Placement is said instead of what the file says.
	Placement config.Placement
	Env       func(string) (string, bool)
	Prices    string // file of prices besides the built-in ones
	Log       *slog.Logger
	// Ready is called with the addresses once they are listened on; "" for those that are off. Scheme is https with TLS,
	// else http.
	Ready func(scheme, gateway, api, grpc string)
	// Hangup tells that the configuration should be read again; may be nil.
	Hangup <-chan os.Signal
	// Grace is how long requests under way may take to finish at the end; 30 s.
	Grace time.Duration

	// openStore opens the store; what the configuration names when nil. For tests.
	openStore func(context.Context, *config.Server) (store.Store, error)
}

const (
	exchangeStream = "exchanges"
	storeConsumer  = "store"
	budgetBucket   = "budgets"
	defaultGrace   = 30 * time.Second
	watchEvery     = 2 * time.Second
	retainEvery    = time.Hour
	firstRetry     = time.Second
	longestRetry   = 15 * time.Second
	settleTime     = 20 * time.Second // for what was captured to reach the bus at the end
	statusTimeout  = 2 * time.Second
	firstOpening   = 10 * time.Second // that what is captured waits for the bus at the start
)

// Service is a running telltale serve. The gateway answers whatever becomes of the rest: bus and store are opened beside
// it, again and again until they open, and what could not be captured meanwhile is counted.
type Service struct {
	o       ServeOptions
	started time.Time
	state   atomic.Pointer[serveState]
	// reloadError is why the last change of the configuration was not taken.
	reloadError atomic.Pointer[string]
	// ending says that the bus is being closed, so that its end is no failure.
	ending atomic.Bool

	keys    *access.Keys
	prices  *provider.Prices
	gateway *gateway.Gateway
	capture *pipeline.Capture
	ingest  *otlp.Receiver
	codec   *pipeline.Codec
	bus     part[*bus.Bus]
	store   part[store.Store]
	publish publisher
	worker  atomic.Pointer[pipeline.Worker]
	stored  stored
	// storeHeld is why nothing is stored although there is a store.
	storeHeld atomic.Pointer[error]
	claim     claimTimes
	live      *pipeline.Live
	metrics   *serveMetrics
	scorers   []pipeline.Scoring
	// unpriced remembers which keys it was said of.
	unpriced unpriced
	// closeScorers gives back what the scorers use.
	closeScorers func() error
	// plans are the newest of the routes, by name; spent what each rollout's shadow took.
	plans, spent sync.Map
	lease        leaseTimes
	rolloutsMu   sync.Mutex
	rollouts     *rollouts // nil until they are opened
}

// serveState is what a reload replaces.
type serveState struct {
	server   *config.Server
	redactor *privacy.Redactor
	routes   map[string]routeState
	// other is for exchanges that did not come over a route, such as OpenTelemetry's.
	other routeState
}

// part is something that may not be there yet.
type part[T any] struct {
	mu    sync.Mutex
	value T
	ok    bool
	err   error
}

var errOpening = errors.New("it is being opened")

func (p *part[T]) get() (T, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ok && p.err == nil {
		return p.value, errOpening
	}
	return p.value, p.err
}

func (p *part[T]) set(v T, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.value, p.ok, p.err = v, err == nil, err
}

// publisher offers records to the bus once there is one. While the bus is being opened for the first time an offer waits,
// for as long as firstOpening: reading the files of a large bus takes a while, and what comes meanwhile has room in the
// capture's queue.
type publisher struct {
	p       atomic.Pointer[bus.Publisher]
	opening chan struct{} // closed when the first attempt to open the bus has ended, or has taken too long
}

func (p *publisher) Offer(id string, data []byte) bool {
	to := p.p.Load()
	if to == nil {
		<-p.opening
		if to = p.p.Load(); to == nil {
			return false
		}
	}
	return to.Offer(id, data)
}

// down says that the bus does not answer, or that its disk is full.
func (p *publisher) down() bool {
	to := p.p.Load()
	if to == nil {
		return true
	}
	why := to.Trouble()
	return why == bus.Down || why == bus.DiskFull
}

// stored counts what of the gateway's reached the store since the start: not what a process before this one had left on
// the bus.
type stored struct {
	since        time.Time
	gateway, all atomic.Int64
}

// countingStore counts what is stored. Exchanges that come a second time are not new and not counted.
type countingStore struct {
	store.Store
	n   *stored
	put func(took time.Duration, err error)
}

func (c countingStore) Put(ctx context.Context, xs []record.Exchange) (int, error) {
	began := time.Now()
	added, err := c.Store.Put(ctx, xs)
	c.put(time.Since(began), err)
	if err == nil {
		fromGateway := 0
		for i := range xs {
			if xs[i].Source == record.SourceGateway && !xs[i].Time.Before(c.n.since) {
				fromGateway++
			}
		}
		c.n.all.Add(int64(added))
		c.n.gateway.Add(int64(min(added, fromGateway)))
	}
	return added, err
}

// Serve runs telltale's server until ctx ends. Mistakes in the configuration are config errors; that an address is in use
// is a *CouldNotRun.
func Serve(ctx context.Context, o ServeOptions) error {
	if o.Grace <= 0 {
		o.Grace = defaultGrace
	}
	server, err := loadServer(o.Config, o.Env, &o.Placement)
	if err != nil {
		return err
	}
	s, err := newService(server, o)
	if err != nil {
		return err
	}
	return s.run(ctx)
}

func newService(server *config.Server, o ServeOptions) (*Service, error) {
	s := &Service{o: o, started: time.Now(), live: pipeline.NewLive(time.Now), claim: defaultClaim, lease: defaultLease}
	s.metrics = newServeMetrics(s)
	s.publish.opening = make(chan struct{})
	s.stored.since = s.started
	err := checkServer(server)
	if err != nil {
		return nil, err
	}
	if s.prices, err = provider.LoadPrices(o.Prices); err != nil {
		return nil, err
	}
	if s.scorers, s.closeScorers, err = compileOnline(server, o.Env, o.Prices); err != nil {
		return nil, err
	}
	if s.keys, err = access.Open(access.Options{File: server.Access.File, Now: time.Now, Log: o.Log}); err != nil {
		return nil, err
	}
	state, err := s.newState(server) // the first that may write
	if err != nil {
		return nil, err
	}
	s.state.Store(state)
	s.metrics.configured(server)
	s.codec = pipeline.NewCodec()
	s.capture, err = pipeline.NewCapture(pipeline.CaptureOptions{
		Redactor: s, Publisher: &s.publish, Codec: s.codec, Log: o.Log,
		Sampler: func(route string) pipeline.Sampler { return s.state.Load().sampler(route) },
		Limit:   func(route string) pipeline.Limit { return s.state.Load().limit(route) },
		Down:    s.publish.down,
	})
	if err != nil {
		return nil, err
	}
	if s.ingest, err = otlp.New(otlp.Options{Sink: s.take, Scores: s.takeScores, Price: s.price, Auth: func(r *http.Request) error { return s.mayAsk(r.Header) }}); err != nil {
		return nil, err
	}
	s.gateway, err = gateway.New(server, gateway.Options{Sink: s.tap, Access: s.keys, Log: o.Log})
	return s, err
}

// newState makes what a configuration decides, or says what is wrong with it.
func (s *Service) newState(server *config.Server) (*serveState, error) {
	if err := keyed(server); err != nil {
		return nil, err
	}
	redactor, err := privacy.New(server.Privacy, privacy.Options{})
	if err != nil {
		return nil, err
	}
	st := &serveState{server: server, redactor: redactor, routes: map[string]routeState{}}
	st.other = routeState{capture: server.Capture, sampler: privacy.NewSampler(server.Privacy.Key, server.Capture)}
	for _, r := range server.Routes {
		c := server.Capture
		if r.Capture != nil {
			c = *r.Capture
		}
		st.routes[r.Name] = routeState{route: r, capture: c, sampler: privacy.NewSampler(server.Privacy.Key, c), upstreams: upstreamsOf(&r), guards: guardsOf(&r)}
	}
	return st, nil
}

// Exchange redacts by the rules that are in force. The gateway's exchanges are counted then, with the names that redaction
// leaves; those of ingest once they are durable, for a client sends them again otherwise.
func (s *Service) Exchange(ctx context.Context, x *record.Exchange) error {
	err := s.state.Load().redactor.Exchange(ctx, x)
	if x.Source == record.SourceGateway {
		s.metrics.observe(x, err)
	}
	return err
}

func (s *Service) price(model string, u record.Usage) *float64 {
	if p, ok := s.prices.Find(model); ok {
		return p.Cost(u)
	}
	return nil
}

func (st *serveState) sampler(route string) pipeline.Sampler {
	if r, ok := st.routes[route]; ok {
		return r.sampler
	}
	return st.other.sampler
}

func (st *serveState) limit(route string) pipeline.Limit {
	r, ok := st.routes[route]
	if !ok {
		r = st.other
	}
	return pipeline.Limit{MaxContent: r.capture.MaxBytes, TopK: r.capture.TopK}
}

// listeners are the open sockets.
type listeners struct{ gateway, api, grpc net.Listener }

func (l *listeners) close() error {
	var errs []error
	for _, ln := range []net.Listener{l.gateway, l.api, l.grpc} {
		if ln != nil {
			if err := ln.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

func address(ln net.Listener) string {
	if ln == nil {
		return ""
	}
	return ln.Addr().String()
}

func (s *Service) listen(ctx context.Context) (*listeners, error) {
	server := s.state.Load().server
	l := &listeners{}
	for _, one := range []struct {
		to   *net.Listener
		addr string
		key  string
		on   bool
	}{
		{&l.gateway, server.Listen.Gateway, "gateway", server.Has(config.RoleGateway)},
		{&l.api, server.Listen.API, "api", true}, // every process tells its status and metrics
		{&l.grpc, server.Listen.OTLPGRPC, "otlp_grpc", server.Has(config.RoleIngest)},
	} {
		if one.addr == "" || !one.on {
			continue
		}
		var lc net.ListenConfig
		ln, err := lc.Listen(ctx, "tcp", one.addr)
		if err != nil {
			return nil, errors.Join(&CouldNotRun{Err: fmt.Errorf("listen.%s %s: %w", one.key, one.addr, err)}, l.close())
		}
		*one.to = ln
	}
	return l, nil
}

// checkAPI refuses to show exchanges to other machines without keys.
func checkAPI(server *config.Server) error {
	for _, a := range []struct{ key, addr string }{{"api", server.Listen.API}, {"otlp_grpc", server.Listen.OTLPGRPC}} {
		if a.addr == "" || loopback.Host(a.addr) || server.Access.Require || server.Listen.Insecure {
			continue
		}
		return &config.Error{Pos: server.Listen.Pos.At(a.key), Value: a.addr, Problem: "other machines could reach this address, and no key is asked for", Want: "a loopback address such as " + config.DefaultAPI,
			Hint: "access.require: true asks for keys; listen.insecure: true shows everybody who reaches the address what users wrote"}
	}
	return nil
}

// run serves until ctx ends, and then brings what was captured to the bus before it returns.
func (s *Service) run(ctx context.Context) error {
	l, err := s.listen(ctx)
	if err != nil {
		return errors.Join(err, s.capture.Close(ctx))
	}
	server := s.state.Load().server
	apiHandler := s.apiHandler()
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	var background, serving sync.WaitGroup
	background.Go(func() { s.openBus(work) })
	background.Go(func() { s.openStore(work) })
	background.Go(func() { s.retain(work) })
	background.Go(func() { s.watch(work) })
	background.Go(func() { s.followPlans(work) })
	background.Go(func() { s.control(work) })
	background.Go(func() { s.keys.Watch(work, watchEvery) })

	serve, stopServing := context.WithCancel(ctx)
	defer stopServing()
	var mu sync.Mutex
	var failures []error
	run := func(name string, f func() error) {
		serving.Go(func() {
			if err := f(); err != nil {
				mu.Lock()
				failures = append(failures, fmt.Errorf("%s: %w", name, err))
				mu.Unlock()
				stopServing() // one that cannot serve ends the others: half a server looks like a whole one
			}
		})
	}
	failed := make(chan error, 1)
	background.Go(func() { s.work(work, failed) })
	// Also where it listens nowhere it serves until it is told to end.
	run("worker", func() error {
		select {
		case err := <-failed:
			return err
		case <-serve.Done():
			return nil
		}
	})
	if l.gateway != nil {
		run("gateway", func() error { return s.gateway.Serve(serve, l.gateway, server.Listen, s.gateway, s.o.Grace) })
	}
	if l.api != nil {
		run("api", func() error { return s.serveHTTP(serve, l.api, server.Listen, apiHandler) })
	}
	if l.grpc != nil {
		run("otlp", func() error { return s.serveGRPC(serve, l.grpc) })
	}
	if s.o.Ready != nil {
		scheme := "http"
		if server.Listen.TLSCert != "" {
			scheme = "https"
		}
		s.o.Ready(scheme, address(l.gateway), address(l.api), address(l.grpc))
	}
	serving.Wait()

	s.ending.Store(true)
	settle, done := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer done()
	failures = append(failures, s.gateway.Close(settle), s.capture.Close(settle), s.drain(settle))
	stopWork()
	background.Wait()
	failures = append(failures, s.closeScorers())
	if b, err := s.bus.get(); err == nil {
		failures = append(failures, b.Close())
	}
	if st, err := s.store.get(); err == nil {
		failures = append(failures, st.Close())
	}
	if err := errors.Join(failures...); err != nil {
		return &CouldNotRun{Err: err}
	}
	return nil
}

// drain brings what is in the publishers to the bus and ends the consumer after its batch. What is not stored then is on
// disk, and is stored after the next start.
func (s *Service) drain(ctx context.Context) error {
	if b, err := s.bus.get(); err == nil {
		return b.Drain(ctx)
	}
	return nil // nothing was captured, and status has said so
}

// openBus opens the bus, again and again until it opens.
func (s *Service) openBus(ctx context.Context) {
	server := s.state.Load().server
	if !usesBus(server) {
		s.bus.set(nil, errNoRole)
		return
	}
	opened := sync.OnceFunc(func() { close(s.publish.opening) })
	defer opened()
	late := time.AfterFunc(firstOpening, opened)
	defer late.Stop()
	untilOpen(ctx, s.o.Log, "bus", &s.bus, func() (*bus.Bus, error) {
		b, err := bus.Open(ctx, server.Bus, server.Data, s.o.Log)
		if err == nil {
			// Evidence has no content: a tenth of the exchanges' room is plenty.
			b.Limit(evidenceStream, max(server.Bus.MaxBytes/10, leastEvidence))
			s.publish.p.Store(b.Publisher(exchangeStream, bus.PublisherOptions{}))
		}
		opened()
		return b, err
	})
}

func (s *Service) openStore(ctx context.Context) {
	server := s.state.Load().server
	if !usesStore(server) {
		s.store.set(nil, errNoRole)
		return
	}
	open := openStore
	if s.o.openStore != nil {
		open = s.o.openStore
	}
	untilOpen(ctx, s.o.Log, "store", &s.store, func() (store.Store, error) { return open(ctx, server) })
}

// untilOpen tries to open a part until it succeeds or ctx ends, less and less often.
func untilOpen[T any](ctx context.Context, log *slog.Logger, name string, to *part[T], open func() (T, error)) T {
	var none T
	for wait := firstRetry; ; wait = min(2*wait, longestRetry) {
		v, err := open()
		to.set(v, err)
		if err == nil {
			return v
		}
		if ctx.Err() != nil {
			return none
		}
		log.Error("the "+name+" cannot be opened; requests are served all the same; /v1/status counts what is lost", "error", err, "again in", wait)
		select {
		case <-ctx.Done():
			return none
		case <-time.After(wait):
		}
	}
}

// await waits until a part is there.
func await[T any](ctx context.Context, p *part[T]) (T, bool) {
	for {
		if v, err := p.get(); err == nil {
			return v, true
		}
		select {
		case <-ctx.Done():
			var none T
			return none, false
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// watch takes changes of the configuration's file.
func (s *Service) watch(ctx context.Context) {
	last := stamp(s.o.Config)
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.o.Hangup:
			last = stamp(s.o.Config)
			s.Reload()
		case <-tick.C:
			if now := stamp(s.o.Config); now != last {
				last = now
				s.Reload()
			}
		}
	}
}

// stamp tells one state of a file from another.
func stamp(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(info.ModTime().UnixNano(), info.Size())
}

// Reload reads the configuration again. With a mistake in it the one before stays in force, and status says so.
func (s *Service) Reload() {
	err := s.reload()
	s.metrics.reloaded(err)
	if err != nil {
		text := err.Error()
		s.reloadError.Store(&text)
		s.o.Log.Error("the changed configuration is not taken; the one before stays in force", "error", err)
		return
	}
	s.reloadError.Store(nil)
	s.o.Log.Info("the changed configuration is in force", "config", s.state.Load().server.Hash)
}

func (s *Service) reload() error {
	server, err := loadServer(s.o.Config, s.o.Env, &s.o.Placement)
	if err != nil {
		return err
	}
	before := s.state.Load().server
	if !sameListen(server.Listen, before.Listen) || !sameScorers(server.Scorers, before.Scorers) ||
		server.Data != before.Data || !slices.Equal(server.Roles, before.Roles) || server.Access.File != before.Access.File || !sameBus(server.Bus, before.Bus) || !sameStore(server.Store, before.Store) {
		return &config.Error{Pos: config.Pos{File: s.o.Config}, Problem: "listen, data, roles, access.file, bus, store and scorers are read at the start only", Hint: "start telltale serve again to change them"}
	}
	state, err := s.newState(server)
	if err != nil {
		return err
	}
	if err := s.gateway.Reload(server); err != nil {
		return err
	}
	s.state.Store(state)
	s.metrics.configured(server)
	s.followAgain()
	return nil
}

// sameListen leaves the certificate out: a reload may name another.
func sameListen(a, b config.Listen) bool {
	withTLS := func(l config.Listen) bool { return l.TLSCert != "" }
	return a.Gateway == b.Gateway && a.API == b.API && a.OTLPGRPC == b.OTLPGRPC && withTLS(a) == withTLS(b) && a.H2C == b.H2C && a.Insecure == b.Insecure
}

// sameScorers compares what they say, wherever they stand in the file.
func sameScorers(a, b []config.OnlineScorer) bool {
	said := func(list []config.OnlineScorer) []byte {
		out := make([]any, len(list))
		for i, o := range list {
			out[i] = []any{o.Assert.Content(), o.Name, o.Share, o.Routes, o.Budget}
		}
		b, _ := json.Marshal(out) // values of YAML
		return b
	}
	return bytes.Equal(said(a), said(b))
}

func sameBus(a, b config.BusConfig) bool {
	a.Pos, b.Pos = config.Pos{}, config.Pos{}
	return a == b
}

func sameStore(a, b config.StoreConfig) bool {
	a.Pos, b.Pos = config.Pos{}, config.Pos{}
	return a == b
}

// tls shows the certificate that the gateway shows, also after a reload.
func (s *Service) tls() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.gateway.Certificate}
}

// apiHandler answers the API and takes OTLP and JSON over HTTP on one address.
func (s *Service) apiHandler() http.Handler {
	server := s.state.Load().server
	any := server.Access.Require || server.Listen.Insecure
	ingest := s.ingest.Handler()
	if !server.Has(config.RoleIngest) {
		ingest = absent(config.RoleIngest)
	}
	return api.New(api.Options{
		Store: s.readable, Status: s.status, Forget: s.forget, Tokens: s.tokens, AnyHost: any, Version: Version,
		Auth: func(r *http.Request) error { return s.mayAsk(r.Header) }, Ingest: ingest, Metrics: s.metrics.handler(s.o.Log), Rollouts: s.rolloutsNow,
	})
}

// mayAsk says why a request to the API may not be answered.
func (s *Service) mayAsk(h http.Header) error {
	client, err := s.keys.Authenticate(h)
	if err != nil {
		return err
	}
	if !s.state.Load().server.Access.Require {
		return nil
	}
	if client == nil {
		return errors.New("a key is needed: telltale keys add NAME --route " + config.APIScope + " makes one")
	}
	if !client.Scoped(config.APIScope) {
		return api.Forbidden("this key may not use the API: its routes do not name " + config.APIScope)
	}
	return nil
}

func (s *Service) serveGRPC(ctx context.Context, ln net.Listener) error {
	opts := s.ingest.GRPCOptions()
	if s.state.Load().server.Listen.TLSCert != "" {
		opts = append(opts, grpc.Creds(credentials.NewTLS(s.tls())))
	}
	srv := grpc.NewServer(opts...)
	s.ingest.RegisterGRPC(srv)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	stopped := make(chan struct{})
	go func() { srv.GracefulStop(); close(stopped) }()
	select {
	case <-stopped:
	case <-time.After(s.o.Grace):
		srv.Stop()
	}
	return <-done
}

// forget removes the content of a person under every name by which they may be stored.
func (s *Service) forget(ctx context.Context, user string) (store.Deleted, error) {
	st, err := s.store.get()
	if err != nil {
		return store.Deleted{}, err
	}
	d, err := st.Forget(ctx, s.tokens(user))
	if err != nil {
		return d, err
	}
	// The bus keeps for a while what has been stored; a process without it leaves that to the worker's next round.
	if b, err := s.bus.get(); err == nil {
		return d, b.Erase(ctx, exchangeStream)
	}
	return d, nil
}

// tokens are the names under which a person, or a session, may be stored.
func (s *Service) tokens(name string) []string { return s.state.Load().redactor.Tokens(name) }

func (s *Service) serveHTTP(ctx context.Context, ln net.Listener, listen config.Listen, h http.Handler) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
	done := make(chan error, 1)
	go func() {
		if listen.TLSCert != "" {
			srv.TLSConfig = s.tls()
			done <- srv.ServeTLS(ln, "", "")
			return
		}
		done <- srv.Serve(ln)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err := srv.Shutdown(end)
	if errors.Is(err, context.DeadlineExceeded) {
		err = srv.Close()
	}
	if e := <-done; !errors.Is(e, http.ErrServerClosed) {
		return e
	}
	return err
}
