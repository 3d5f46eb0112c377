package pipeline

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/telltale-llm/telltale/internal/bus"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/store"
)

// maxEvidence is how much evidence is in one record of the bus.
const maxEvidence = 256

// EvidenceSink takes records for those who decide. Put returns when they are durable.
type EvidenceSink interface {
	Put(ctx context.Context, items []bus.Item) error
}

// EvidenceOptions say where evidence goes.
type EvidenceOptions struct {
	Sink EvidenceSink
	// Outcomes says whether anybody waits for scores that come apart from their exchange; nil for nobody. Only then are
	// their exchanges looked up, with Find.
	Outcomes func() bool
	Find     func(ctx context.Context, id string) (record.Exchange, error)
	// Unit says what a rollout assigns as one: request, session or user; nil, and "" of one that is not known, are a request.
	Unit func(rollout string) string
	// Outside says of which rollout an exchange is that another router gave its variant; nil for none. A rollout under way that
	// it does not know of yet gets no evidence meanwhile, whatever the outcome.
	Outside func(x *record.Exchange) (o Outside, ok bool)
}

// Outside is what an exchange is for a rollout whose requests another router shares out.
type Outside struct {
	Rollout, Variant string
	Unit             string // what counts once: request, session or user
}

// EvidenceBatch is a record of the evidence stream. A batch of the worker's that is processed again after a crash gives records
// of the same IDs with the same evidence, so that a reader who remembers the IDs counts each once.
type EvidenceBatch struct {
	ID       string            `json:"batch"`
	Evidence []record.Evidence `json:"evidence"`
}

// EvidenceBatch encodes a record of the evidence stream.
func (c *Codec) EvidenceBatch(b *EvidenceBatch) ([]byte, error) {
	out, err := c.enc.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("encode evidence: %w", err)
	}
	return out, nil
}

// DecodeEvidence reads what EvidenceBatch wrote.
func (c *Codec) DecodeEvidence(b []byte) (EvidenceBatch, error) {
	var out EvidenceBatch
	if err := c.dec.Unmarshal(b, &out); err != nil {
		return EvidenceBatch{}, fmt.Errorf("evidence: %w", err)
	}
	if out.ID == "" {
		return EvidenceBatch{}, errors.New("evidence without the id of its batch")
	}
	for i := range out.Evidence {
		out.Evidence[i].Time = out.Evidence[i].Time.UTC()
	}
	return out, nil
}

// findings is what a job's exchanges and late scores tell those who decide.
func (w *Worker) findings(ctx context.Context, j *job) ([]record.Evidence, error) {
	var out []record.Evidence
	for i := range j.fresh {
		x := &j.fresh[i]
		if e, ok := record.NewEvidence(x); ok {
			out = append(out, e)
		} else if e, ok := w.outside(x); ok {
			out = append(out, e)
		}
	}
	o := &w.o.Evidence
	if len(j.late) == 0 || o.Outcomes == nil || !o.Outcomes() {
		return out, nil
	}
	here := make(map[string]*record.Exchange, len(j.exchanges))
	for i := range j.exchanges {
		here[j.exchanges[i].ID] = &j.exchanges[i]
	}
	for i := range j.late {
		l := &j.late[i]
		x := here[l.Exchange]
		if x == nil {
			found, err := o.Find(ctx, l.Exchange)
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("the exchange of a late score: %w", err)
			}
			x = &found
		}
		// Who sends exchanges from elsewhere may say of them what they like.
		e, ok := record.NewEvidence(x)
		if ok = ok && x.Source == record.SourceGateway; ok {
			e.Unit = w.lateUnit(x)
		} else {
			e, ok = w.outside(x)
		}
		if ok && (l.Score.Value != nil || l.Score.Pass != nil) {
			out = append(out, record.Evidence{
				ID: e.ID, Kind: record.EvidenceOutcome, Time: e.Time, Route: e.Route, Rollout: e.Rollout, Stage: e.Stage, Variant: e.Variant,
				Propensity: e.Propensity, Unrouted: e.Unrouted, Unit: e.Unit, Paired: e.Paired,
				Scores: []record.EvidenceScore{{Name: l.Score.Name, Value: l.Score.Value, Pass: l.Score.Pass}},
			})
		}
	}
	return out, nil
}

// lateUnit is the unit of an exchange for what is learnt of it later. The hash that the gateway assigned it by is not kept, so it is
// made of the session or user as they are stored, always, also where the hash is still here: all outcomes of one user are then of one
// unit. It is empty, and the outcome no evidence, where the server does not keep who it was.
func (w *Worker) lateUnit(x *record.Exchange) string {
	kind := ""
	if w.o.Evidence.Unit != nil {
		kind = w.o.Evidence.Unit(x.Assigned.Rollout)
	}
	return w.storedUnit(x, x.Assigned.Rollout, kind)
}

// outside is what an exchange is evidence of that another router gave its variant.
func (w *Worker) outside(x *record.Exchange) (e record.Evidence, ok bool) {
	if w.o.Evidence.Outside == nil || x.Variant == record.VariantShadow {
		return e, false
	}
	o, ok := w.o.Evidence.Outside(x)
	if !ok {
		return e, false
	}
	return record.UnroutedEvidence(x, o.Rollout, o.Variant, w.storedUnit(x, o.Rollout, o.Unit)), true
}

// storedUnit is the unit of an exchange, made of the session or user as they are stored; empty where there is none.
func (w *Worker) storedUnit(x *record.Exchange, rollout, kind string) string {
	who := ""
	switch kind {
	case "session":
		who = x.Session
	case "user":
		who = x.User
	}
	if who == "" {
		return ""
	}
	h := hmac.New(sha256.New, w.o.Secret)
	h.Write([]byte("unit\x00" + rollout + "\x00" + kind + "\x00" + who))
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// publish puts a job's evidence on the bus, before anything that needs the store: who decides must not wait for that.
func (w *Worker) publish(ctx context.Context, j *job) error {
	all, err := w.findings(ctx, j)
	if err != nil || len(all) == 0 {
		return err
	}
	var items []bus.Item
	told := int64(len(all))
	for n := 0; len(all) > 0; n++ {
		k := min(len(all), maxEvidence)
		id := fmt.Sprintf("%s/%d", j.id, n)
		data, err := w.o.Codec.EvidenceBatch(&EvidenceBatch{ID: id, Evidence: all[:k]})
		if err != nil {
			return err
		}
		items = append(items, bus.Item{ID: id, Data: data})
		all = all[k:]
	}
	err = w.o.Evidence.Sink.Put(ctx, items)
	if drop, ok := errors.AsType[*bus.DropError](err); ok && (drop.Reason == bus.Full || drop.Reason == bus.TooLarge) {
		// Waiting would hold up the store for a stream that nobody reads.
		w.evidenceLost.Add(told)
		w.o.Log.Error("evidence for rollouts is lost", "exchanges", told, "error", err)
		return nil
	}
	if err == nil {
		w.evidence.Add(told)
	}
	return err
}
