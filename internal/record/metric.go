package record

// The metrics every run has. A suite cannot use these names for its own metrics: a scorer's
// metric of the same name is published with the prefix MetricAssert.
const (
	MetricPassRate         = "pass_rate"         // share of judged samples that passed
	MetricScore            = "score"             // mean weighted score of the samples, 0 to 1
	MetricErrorRate        = "error_rate"        // share of finished samples without a verdict because of an error
	MetricLatency          = "latency"           // seconds to the last byte, cached samples left out
	MetricTTFT             = "ttft"              // seconds to the first token, cached samples left out
	MetricCost             = "cost"              // US dollars a sample; Count holds the total
	MetricTokensPrompt     = "tokens.prompt"     // tokens a sample; Count holds the total
	MetricTokensCompletion = "tokens.completion" // tokens a sample; Count holds the total

	MetricAssert = "assert."
)

// BuiltinUnits holds the unit of each metric that every run has.
func BuiltinUnits() map[string]string {
	return map[string]string{
		MetricPassRate: "", MetricScore: "", MetricErrorRate: "",
		MetricLatency: "s", MetricTTFT: "s", MetricCost: "usd",
		MetricTokensPrompt: "tokens", MetricTokensCompletion: "tokens",
	}
}

// FailureKinds returns every reason for which a call may have no answer.
func FailureKinds() []FailureKind {
	return []FailureKind{Canceled, Timeout, Connection, RateLimited, Server, Auth, NotFound,
		BadRequest, Malformed, Empty, Cut, Missing, Exited, TooLarge}
}
