package config

import "time"

// Server is server.yaml: what `telltale serve` does. Every part has its own file in this package; the zero value of
// each takes the documented default.
type Server struct {
	File   string
	Listen Listen
	Data   string // directory of everything that is kept; "telltale-data" when not set
	// Roles are what the process does, in the order of the list of this name. Without any it does all.
	Roles     []string
	Routes    []Route
	Guards    []Guard
	Privacy   Privacy
	Access    Access
	Capture   Capture
	Retention Retention
	Scorers   []OnlineScorer
	Targets   []Target
	Bus       BusConfig
	Store     StoreConfig
	// Secrets are the values that were read from the environment or files; they are kept from every output.
	Secrets []string
	// Hash identifies the configuration without secrets.
	Hash string
}

// Listen says where the server accepts connections.
type Listen struct {
	Pos      Pos
	Gateway  string // address such as 127.0.0.1:4000, the default
	API      string // address of the HTTP API and the OTLP/HTTP ingest, 127.0.0.1:4001
	OTLPGRPC string // address of OTLP over gRPC, 127.0.0.1:4317; "off" for none
	TLSCert  string // files; HTTP/2 is offered where set
	TLSKey   string
	H2C      bool // HTTP/2 without TLS
	// Insecure allows addresses that are not loopback without client keys.
	Insecure bool
}

// Route is an entry point of the gateway: requests are matched by Path prefix and Models, first match wins.
type Route struct {
	Pos    Pos
	Name   string
	Path   string   // path prefix before /v1, such as /support; empty for none
	Models []string // model names or patterns with *; empty takes every model
	// Upstreams: the first is used, others take over when it fails (fallback) or share the load (weight > 0).
	Upstreams []Upstream
	// Caps bound parameters of requests, such as max_tokens: 1000; a request above is lowered to it.
	Caps map[string]float64
	// Set overrides parameters of requests; a nil value removes one.
	Set map[string]any
	// KeepBody passes bodies byte for byte where nothing is set; it is what happens without Caps, Set and overrides.
	Timeout      time.Duration // whole request, 10m
	FirstByte    time.Duration // until the answer's headers, 5m
	Idle         time.Duration // between two chunks of a stream, 2m
	MaxBody      int64         // bytes of a request, 32 MiB
	Retries      int           // further attempts before the first byte, 1
	PassKey      bool          // the client's own Authorization goes to the upstream
	Capture      *Capture      // instead of the server's
	Keys         []string      // names of the client keys that may use the route; empty allows all
	RequestRules HeaderRules
	AnswerRules  HeaderRules
	// Guard names the guard that its requests and answers go through; GuardID is the hash of what that one does.
	Guard    string
	GuardID  string
	Variants []Variant
}

// HeaderRules change headers.
type HeaderRules struct {
	Set    map[string]string
	Remove []string
}

// Upstream is a model provider.
type Upstream struct {
	Pos    Pos
	Name   string
	URL    string // base URL up to and without /v1
	Format string // openai or anthropic; what the upstream speaks. Requests of the other are not translated
	Key    string // the secret itself, resolved from key_env or key_file; never printed
	Model  string // overrides the request's model; empty keeps it
	Weight float64
	// Backup upstreams are used only when no other is healthy.
	Backup bool
	// Eject takes an upstream out for Cooldown after so many failures in a row; 0 means 5.
	Eject    int
	Cooldown time.Duration // 10s
	Headers  map[string]string
	CACert   string
	MaxConns int
}

// Access are the clients' keys. They are hashed (SHA-256 of 256 random bits) in the file that `telltale keys` writes.
type Access struct {
	Pos     Pos
	File    string // keys.yaml beside server.yaml
	Require bool   // refuse requests without a key
}

// Capture says what is remembered of exchanges.
type Capture struct {
	Pos       Pos
	Content   float64 // share of units whose content is kept, 0 to 1; 1 when not set
	Unit      string  // user, session or request: what is sampled together; request when not set
	Errors    bool    // content of failed exchanges is always kept, up to MaxErrors a minute
	MaxErrors int     // 60
	MaxBytes  int     // bytes of content kept of one exchange, 64 KiB
	TopK      bool    // all tokens with alternatives are kept

}

// Privacy is what is done to text before it is written anywhere.
type Privacy struct {
	Pos   Pos
	Mode  string            // mask (default), remove, pseudonym, keep
	Kinds map[string]string // kind to mode, such as email: pseudonym
	// Key names the secret of pseudonyms and sampling: resolved from key_env or key_file. KeyID is written beside each.
	Key      []byte
	KeyID    string
	OldKeys  []PrivacyKey // of before, whose pseudonyms a request to forget a person must still find
	Patterns []PrivacyPattern
	Words    []PrivacyWords
	NER      *NER
	Regions  []string // countries whose phone numbers are recognised without +, such as US
	// Fields gives a mode to single fields: user, session, tags.NAME, input, output, system, error.
	Fields map[string]string
	Routes map[string]Privacy // per route, on top
}

// PrivacyKey is a key that pseudonyms were made with.
type PrivacyKey struct {
	ID  string
	Key []byte
}

// PrivacyPattern is a custom regular expression (RE2).
type PrivacyPattern struct {
	Pos     Pos
	Name    string
	Pattern string
	Mode    string
}

// PrivacyWords is a dictionary of words or names.
type PrivacyWords struct {
	Pos   Pos
	Name  string
	Words []string
	Mode  string
}

// NER is an HTTP service of Presidio's API: POST {url}/analyze.
type NER struct {
	Pos      Pos
	URL      string
	Language string // en
	Entities []string
	MinScore float64       // .5
	Timeout  time.Duration // 2s
	// Failing says what happens to content when the service fails: drop (default) or keep.
	Failing string
}

// Retention is how long each class of data is kept; 0 keeps for ever.
type Retention struct {
	Pos       Pos
	Content   time.Duration // 30 days
	Exchanges time.Duration // 90 days
	Rollups   time.Duration // 400 days
}

// OnlineScorer scores a sample of the exchanges.
type OnlineScorer struct {
	Pos    Pos
	Assert Assertion // as in a suite
	Name   string
	Share  float64 // of the exchanges with content, 0 to 1
	Routes []string
	// Budget bounds what judges cost, US dollars a day; 0 is none allowed for judges that cost.
	Budget float64
}

// BusConfig is where records travel.
type BusConfig struct {
	Pos      Pos
	URL      string // nats://… of an external cluster; empty embeds
	Creds    string // credentials file
	Replicas int
	MaxBytes int64         // of the stream on disk, 10 GiB
	MaxAge   time.Duration // 72h
	Full     string        // what happens when it is full: drop-oldest (default) or refuse
}

// StoreConfig is where exchanges are kept.
type StoreConfig struct {
	Pos     Pos
	URL     string // clickhouse://…; empty is DuckDB in the data directory
	Cluster string // name of the ClickHouse cluster: tables are replicated and distributed
	Memory  string // DuckDB's memory_limit, 1GB
	Threads int
}
