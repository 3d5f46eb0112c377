package app

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/telltale-llm/telltale/internal/bus"
	"github.com/telltale-llm/telltale/internal/gateway"
	"github.com/telltale-llm/telltale/internal/pipeline"
	"github.com/telltale-llm/telltale/internal/store"
)

// partsCollector reads what the parts of a server count themselves when it is asked for. Names of routes, upstreams,
// scorers and keys are the configuration's, reasons are closed sets: no label comes from a client.
type partsCollector struct {
	s *Service

	mu    sync.Mutex
	asked time.Time // when the store was asked last
	last  store.Stats
	err   error
}

// storeFresh is how long the store's figures are used again: it has to look at its tables for them.
const storeFresh = 10 * time.Second

// metricDesc describes a metric of the server's own.
func metricDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("telltale_"+name, help, labels, nil)
}

// The metrics that are read from the parts.
var (
	mRequests   = metricDesc("gateway_requests_total", "Requests that were given to an upstream.", "route")
	mInFlight   = metricDesc("gateway_requests_in_flight", "Requests under way.", "route")
	mResponses  = metricDesc("gateway_responses_total", "Answers by class of status; none where no answer was begun.", "route", "status")
	mFailures   = metricDesc("gateway_failures_total", "Requests without a proper answer, by kind.", "route", "error_type")
	mRetries    = metricDesc("gateway_retries_total", "Attempts that were made again at the same upstream.", "route")
	mFallbacks  = metricDesc("gateway_fallbacks_total", "Attempts that were made at another upstream.", "route")
	mBytesIn    = metricDesc("gateway_request_bytes_total", "Bytes of requests' bodies.", "route")
	mBytesOut   = metricDesc("gateway_response_bytes_total", "Bytes of answers' bodies.", "route")
	mTook       = metricDesc("gateway_request_duration_seconds", "From a request's arrival to the end of its answer, of every request.", "route")
	mFirst      = metricDesc("gateway_first_byte_seconds", "From a request's arrival to the first byte of its answer's body.", "route")
	mRefused    = metricDesc("gateway_refused_total", "Requests that the gateway itself refused, by reason.", "reason")
	mSlow       = metricDesc("gateway_slow_clients_total", "Clients that did not take their answer in time.")
	mUnassigned = metricDesc("gateway_unassigned_total", "Requests that were chosen for a variant that could not answer them.")
	mShadowed   = metricDesc("gateway_shadowed_total", "Requests that were sent to a shadow too.")
	mShadowLost = metricDesc("gateway_shadow_dropped_total", "Requests that were not sent to the shadow, by reason.", "reason")
	mBodyMemory = metricDesc("gateway_body_memory_bytes", "Bytes of requests in memory.")
	mTapMemory  = metricDesc("gateway_capture_memory_bytes", "Bytes of captured content in memory.")

	mAttempts     = metricDesc("upstream_attempts_total", "Calls of an upstream.", "route", "upstream")
	mUpFailures   = metricDesc("upstream_failures_total", "Calls of an upstream that failed.", "route", "upstream")
	mUpInFlight   = metricDesc("upstream_requests_in_flight", "Calls under way.", "route", "upstream")
	mUpHealthy    = metricDesc("upstream_healthy", "0 while an upstream is taken out after failures.", "route", "upstream")
	mUpEjected    = metricDesc("upstream_ejections_total", "How often an upstream was taken out.", "route", "upstream")
	mUpIdle       = metricDesc("upstream_idle_connections", "Connections that wait for a request.", "route", "upstream")
	mSeen         = metricDesc("capture_seen_total", "Exchanges of the gateway that should be captured.")
	mCaptured     = metricDesc("capture_captured_total", "Of these, handed to the bus.", "route")
	mDropped      = metricDesc("capture_dropped_total", "Of these, lost before the bus, by reason.", "reason")
	mStripped     = metricDesc("capture_stripped_total", "Exchanges that were captured without their text, by reason.", "reason")
	mWaiting      = metricDesc("capture_waiting", "Exchanges that are neither captured nor lost yet.")
	mIngested     = metricDesc("ingest_exchanges_total", "Exchanges that the OpenTelemetry and JSON endpoints took.")
	mIngestAsked  = metricDesc("ingest_requests_total", "Requests to the OpenTelemetry and JSON endpoints.")
	mIngestNo     = metricDesc("ingest_refused_total", "Of these, refused, by reason.", "reason")
	mIngestSpans  = metricDesc("ingest_spans_total", "Spans that came.")
	mIngestLeft   = metricDesc("ingest_left_out_total", "Spans, logs and scores of which no exchange was made, by reason.", "reason")
	mBusUp        = metricDesc("bus_up", "Whether the bus takes records.")
	mBusBytes     = metricDesc("bus_bytes", "Bytes that the stream holds.", "stream")
	mBusMax       = metricDesc("bus_max_bytes", "Bytes that the stream may hold.", "stream")
	mBusFrames    = metricDesc("bus_frames", "Frames that the stream holds.", "stream")
	mBusPending   = metricDesc("bus_pending_frames", "Frames that are not stored yet.")
	mBusFree      = metricDesc("bus_disk_free_bytes", "Free bytes of the embedded bus' disk.")
	mPublished    = metricDesc("bus_published_total", "Records that the bus has acknowledged.")
	mPubDropped   = metricDesc("bus_publish_dropped_total", "Records that did not reach the bus, by reason.", "reason")
	mPubRetries   = metricDesc("bus_publish_retries_total", "Attempts to publish a frame that had to be made again.")
	mPubWaiting   = metricDesc("bus_publish_waiting", "Records that wait for the bus.")
	mPubBytes     = metricDesc("bus_publish_waiting_bytes", "Bytes that wait for the bus.")
	mPubLag       = metricDesc("bus_publish_lag_seconds", "Age of the oldest record that waits for the bus.")
	mConsumed     = metricDesc("bus_consumed_total", "Records that were taken from the bus and stored.")
	mLost         = metricDesc("bus_lost_total", "Records that the bus dropped before they were stored; estimated.")
	mDead         = metricDesc("bus_dead_frames_total", "Frames that were put aside because they could not be read.")
	mStoreUp      = metricDesc("store_up", "Whether the store answers.")
	mStoreX       = metricDesc("store_exchanges", "Exchanges in the store.")
	mStoreC       = metricDesc("store_contents", "Of these, with content.")
	mStoreBytes   = metricDesc("store_bytes", "Bytes of the store on disk.")
	mStoreNewest  = metricDesc("store_newest_timestamp_seconds", "Time of the newest exchange in the store.")
	mStored       = metricDesc("stored_exchanges_total", "Exchanges that this process put into the store and that were new to it.")
	mBatches      = metricDesc("worker_batches_total", "Batches that were stored.")
	mRepeated     = metricDesc("worker_repeated_total", "Exchanges that had been stored before.")
	mLeftOut      = metricDesc("worker_left_out_total", "Records that can never be stored, by reason.", "reason")
	mRollups      = metricDesc("worker_rollups_total", "Roll-ups that were stored.")
	mWorkFails    = metricDesc("worker_failures_total", "Attempts to store a batch that failed.")
	mScores       = metricDesc("scorer_scores_total", "Scores by result; skipped is for want of budget, late for want of time.", "scorer", "result")
	mScorerSpent  = metricDesc("scorer_spent_dollars", "What a scorer has spent on this day (UTC), as far as this process knows.", "scorer")
	mScorerBudget = metricDesc("scorer_budget_dollars", "What a scorer may spend a day.", "scorer")
	mKeySpent     = metricDesc("key_spent_dollars", "What the requests of a client's key have cost on this day (UTC), by this process.", "key")
	mKeyBudget    = metricDesc("key_budget_dollars", "What they may cost a day.", "key")
)

// Describe says nothing: which metrics there are depends on which parts run.
func (c *partsCollector) Describe(chan<- *prometheus.Desc) {}

// Collect reads all parts. The bus and the store are asked side by side, and are given little time.
func (c *partsCollector) Collect(ch chan<- prometheus.Metric) {
	e := emitter{ch}
	var asking sync.WaitGroup
	asking.Go(func() { c.bus(e) })
	asking.Go(func() { c.store(e) })
	asking.Go(func() { c.rollouts(e) })
	c.gateway(e)
	c.capture(e)
	c.ingest(e)
	c.worker(e)
	c.keys(e)
	asking.Wait()
}

// emitter makes metrics of numbers.
type emitter struct{ ch chan<- prometheus.Metric }

func (e emitter) counter(d *prometheus.Desc, n int64, labels ...string) {
	e.ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

func (e emitter) gauge(d *prometheus.Desc, v float64, labels ...string) {
	e.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (e emitter) yes(d *prometheus.Desc, ok bool, labels ...string) {
	v := 0.
	if ok {
		v = 1
	}
	e.gauge(d, v, labels...)
}

func (e emitter) durations(d *prometheus.Desc, n gateway.Durations, labels ...string) {
	e.ch <- prometheus.MustNewConstHistogram(d, n.Count, n.Sum.Seconds(), n.Within, labels...)
}

func (c *partsCollector) gateway(e emitter) {
	n := c.s.gateway.Stats()
	for name, r := range n.Routes {
		e.counter(mRequests, r.Requests, name)
		e.gauge(mInFlight, float64(r.InFlight), name)
		e.counter(mRetries, r.Retries, name)
		e.counter(mFallbacks, r.Fallbacks, name)
		e.counter(mBytesIn, r.BytesIn, name)
		e.counter(mBytesOut, r.BytesOut, name)
		e.durations(mTook, r.Took, name)
		e.durations(mFirst, r.First, name)
		for status, k := range r.Status {
			e.counter(mResponses, k, name, status)
		}
		for kind, k := range r.Failed {
			e.counter(mFailures, k, name, string(kind))
		}
		for up, u := range r.Upstreams {
			e.counter(mAttempts, u.Attempts, name, up)
			e.counter(mUpFailures, u.Failures, name, up)
			e.gauge(mUpInFlight, float64(u.InFlight), name, up)
			e.yes(mUpHealthy, !u.Resting, name, up)
			e.counter(mUpEjected, u.Ejected, name, up)
			e.gauge(mUpIdle, float64(u.Idle), name, up)
		}
	}
	for reason, k := range n.Refused {
		e.counter(mRefused, k, string(reason))
	}
	e.counter(mSlow, n.SlowClients)
	e.counter(mUnassigned, n.Unassigned)
	e.counter(mShadowed, n.Shadowed)
	for reason, k := range n.ShadowDrops {
		e.counter(mShadowLost, k, reason)
	}
	e.gauge(mBodyMemory, float64(n.BodyBytes))
	e.gauge(mTapMemory, float64(n.TapBytes))
}

// capture adds up what the gateway's queue and the capture lose: for who watches it is one way from request to bus.
func (c *partsCollector) capture(e emitter) {
	dropped, stripped := map[string]int64{}, map[string]int64{string(gateway.DropMemory): 0, string(pipeline.RedactionFailed): 0}
	for _, why := range pipeline.Reasons {
		if why != pipeline.RedactionFailed {
			dropped[string(why)] = 0
		}
	}
	var captured, lost int64
	for _, r := range c.s.capture.Stats() {
		if r.Seen > 0 { // the others are of ingest, which is answered for what it loses
			e.counter(mCaptured, r.Captured, r.Route)
		}
		captured += r.Captured
		for why, k := range r.Reasons {
			if why == pipeline.RedactionFailed {
				stripped[string(why)] += k
				continue
			}
			dropped[string(why)] += k
			lost += k
		}
	}
	seen := c.s.gateway.Stats() // after the capture's, so that waiting is never below 0
	for why, k := range seen.Dropped {
		if why == gateway.DropMemory {
			stripped[string(why)] += k
			continue
		}
		dropped[string(why)] += k
		lost += k
	}
	e.counter(mSeen, seen.Routed)
	for why, k := range dropped {
		e.counter(mDropped, k, why)
	}
	for why, k := range stripped {
		e.counter(mStripped, k, why)
	}
	e.gauge(mWaiting, float64(max(0, seen.Routed-captured-lost)))
}

func (c *partsCollector) ingest(e emitter) {
	n := c.s.ingest.Counts()
	e.counter(mIngestAsked, n.Requests)
	e.counter(mIngested, n.Exchanges)
	e.counter(mIngestSpans, n.Spans)
	for why, k := range map[string]int64{"unauthorized": n.Unauthorized, "malformed": n.Malformed, "too_large": n.TooLarge, "busy": n.Busy} {
		e.counter(mIngestNo, k, why)
	}
	for why, k := range map[string]int64{"ignored": n.Ignored, "not_calls": n.NotCalls, "doubles": n.Doubles, "rejected": n.Rejected, "late": n.Late, "expired": n.Expired, "dropped": n.Dropped} {
		e.counter(mIngestLeft, k, why)
	}
}

func (c *partsCollector) bus(e emitter) {
	b, err := c.s.bus.get()
	if err != nil {
		e.yes(mBusUp, false)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), statusTimeout)
	defer cancel()
	h := b.Health(ctx)
	e.yes(mBusUp, h.OK)
	if h.Embedded {
		e.gauge(mBusFree, float64(h.FreeBytes))
	}
	for _, st := range h.Streams {
		e.gauge(mBusBytes, float64(st.Bytes), st.Name)
		e.gauge(mBusMax, float64(st.MaxBytes), st.Name)
		e.gauge(mBusFrames, float64(st.Frames), st.Name)
	}
	if n, err := b.Backlog(ctx, exchangeStream, storeConsumer); err == nil {
		e.gauge(mBusPending, float64(n))
	}
	if p := c.s.publish.p.Load(); p != nil {
		n := p.Stats()
		e.counter(mPublished, n.Published)
		e.counter(mPubRetries, n.Retries)
		e.gauge(mPubWaiting, float64(n.Pending))
		e.gauge(mPubBytes, float64(n.PendingBytes))
		e.gauge(mPubLag, n.Lag.Seconds())
		for _, why := range bus.Reasons {
			e.counter(mPubDropped, n.Dropped[why], string(why))
		}
	}
	for _, n := range b.Consumers() {
		if n.Durable != storeConsumer {
			continue
		}
		e.counter(mConsumed, n.Records)
		e.counter(mLost, n.LostRecords)
		e.counter(mDead, n.Dead)
	}
}

// store asks for the store's figures, and no more often than they change much.
func (c *partsCollector) store(e emitter) {
	st, err := c.s.store.get()
	if err != nil {
		e.yes(mStoreUp, false)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.asked) >= storeFresh {
		ctx, cancel := context.WithTimeout(context.Background(), statusTimeout)
		defer cancel()
		c.last, c.err = st.Stats(ctx)
		c.asked = time.Now()
	}
	e.yes(mStoreUp, c.err == nil)
	if c.err != nil {
		return
	}
	e.gauge(mStoreX, float64(c.last.Exchanges))
	e.gauge(mStoreC, float64(c.last.Content))
	e.gauge(mStoreBytes, float64(c.last.Bytes))
	if !c.last.Newest.IsZero() {
		e.gauge(mStoreNewest, float64(c.last.Newest.UnixMilli())/1000)
	}
}

func (c *partsCollector) worker(e emitter) {
	w := c.s.worker.Load()
	if w == nil {
		return
	}
	n := w.Stats()
	e.counter(mStored, n.Stored)
	e.counter(mBatches, n.Batches)
	e.counter(mRepeated, n.Repeated)
	e.counter(mLeftOut, n.Undecodable, "undecodable")
	e.counter(mLeftOut, n.Invalid, "invalid")
	e.counter(mRollups, n.Rollups)
	e.counter(mWorkFails, n.Failures)
	for _, sc := range n.Scorers {
		for result, k := range map[string]int64{resultOK: sc.Scored - sc.Failed, resultFailed: sc.Failed, "skipped": sc.Skipped, "late": sc.Late} {
			e.counter(mScores, k, sc.Name, result)
		}
		e.gauge(mScorerSpent, sc.Spent, sc.Name)
	}
	for _, sc := range c.s.scorers {
		if sc.Costs {
			e.gauge(mScorerBudget, sc.Budget, sc.Name)
		}
	}
}

func (c *partsCollector) keys(e emitter) {
	now := time.Now()
	for _, k := range c.s.keys.Entries() {
		if client := c.s.keys.Client(k.Name); client != nil && k.Budget > 0 && !k.Revoked {
			e.gauge(mKeySpent, client.Spent(now), k.Name)
			e.gauge(mKeyBudget, k.Budget, k.Name)
		}
	}
}
