// Package sim is a simulated language model: deterministic, scriptable, and served in process or
// over the wire formats of OpenAI and Anthropic.
//
// The demo, the examples, the tests and the benchmarks use it in place of a paid model. It is not
// for judging answers, and its answers carry no knowledge worth judging; what it does well is to
// misbehave on request: slow down, fail, insult, refuse, break its JSON, by version and by time.
//
// A request becomes a Query. Model.Answer turns a Query into an Answer and is pure: every decision
// is a hash of the configuration's seed, the messages, the request's seed and the attempt, so that
// order and concurrency change nothing. Model.Complete and the HTTP handler of NewServer add what
// is not pure: the clock, the request count, the attempt count, and the waiting.
//
// # What is repeatable
//
// A request that carries a seed is answered the same way every time, apart from windows of a script
// that are given by request number, which depend on the order of arrival. At temperature 0 the text
// depends on the messages alone. A request without a seed is drawn anew each time it is repeated:
// the k-th request with the same messages is decided by k, so the set of answers to them is the
// same whatever the order.
//
// An injected error is decided by the attempt as well, so that a retry can succeed. The attempt is
// the header x-stainless-retry-count; without it, it is the number of injected errors since the
// last success for the same messages and seed. That count lives in a table of fixed size: two
// requests that fall into one slot forget each other's count, and a retry may then fail once more.
package sim
