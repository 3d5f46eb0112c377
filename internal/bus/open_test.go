package bus

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
)

func TestOpenRefuses(t *testing.T) {
	f := func(cfg config.BusConfig) {
		t.Helper()
		b, err := open(t.Context(), cfg, t.TempDir(), quiet(), quick())
		var ce *config.Error
		if !errors.As(err, &ce) {
			t.Errorf("%+v: %v", cfg, err)
		}
		if err == nil {
			_ = b.Close() // the test has failed
		}
	}
	f(config.BusConfig{Full: "wait"})
	f(config.BusConfig{Replicas: 3})
	f(config.BusConfig{URL: "nats://127.0.0.1:1", Creds: "/no/such/file"})
	dir := t.TempDir()
	openEmbedded(t, dir, config.BusConfig{})
	if _, err := open(t.Context(), config.BusConfig{}, dir, quiet(), quick()); !errors.Is(err, ErrInUse) {
		t.Error(err)
	}
}

// TestOutage begins without a server, and stops it once it is there: nothing that was taken is lost, and offers never
// wait.
func TestOutage(t *testing.T) {
	dir, port := t.TempDir(), freePorts(t, 1)[0]
	b := openEmbedded(t, t.TempDir(), config.BusConfig{URL: fmt.Sprintf("nats://127.0.0.1:%d", port), MaxBytes: 1 << 30})
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	p := b.Publisher("x", PublisherOptions{MaxRecords: 300})
	if h := b.Health(ctx); h.OK || h.Connected {
		t.Errorf("%+v", h)
	}
	slowest := time.Duration(0)
	n := 0
	offer := func(k int) {
		for _, i := range items(n, k, 100) {
			begin := time.Now()
			p.Offer(i.ID, i.Data)
			slowest = max(slowest, time.Since(begin))
		}
		n += k
	}
	offer(100)
	s := natsServer(t, dir, port)
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if h := b.Health(ctx); !h.OK {
		t.Errorf("%+v", h)
	}
	c := collect(300)
	consumed := make(chan struct{})
	go func() {
		defer close(consumed)
		consume(ctx, t, b, ConsumeOptions{Stable: true, FirstRetry: 10 * time.Millisecond, AckWait: 2 * time.Second}, c, nil)
	}()
	s.Shutdown()
	s.WaitForShutdown()
	offer(100)
	time.Sleep(300 * time.Millisecond)
	if p.Trouble() != Down {
		t.Errorf("%+v", p.Stats())
	}
	offer(300) // of which 200 fit
	natsServer(t, dir, port)
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	<-consumed
	st := p.Stats()
	t.Logf("slowest offer %v", slowest)
	if st.Dropped[Down] != 100 || st.Published != 400 || st.Trouble != "" {
		t.Errorf("%+v", st)
	}
	if slowest > time.Second {
		t.Errorf("an offer took %v", slowest)
	}
}

// BenchmarkPublish is the embedded bus, synced: records of 1 KB that compress to a third.
func BenchmarkPublish(b *testing.B) {
	for _, kb := range []int{64, 256, 512} {
		b.Run(fmt.Sprint(kb, "KiB"), func(b *testing.B) {
			bus := openEmbedded(b, b.TempDir(), config.BusConfig{MaxBytes: 2 << 30})
			p := bus.Publisher("x", PublisherOptions{FrameBytes: kb << 10})
			its := random(0, 1000, 350)
			for i := range its {
				its[i].Data = append(its[i].Data, make([]byte, 650)...)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i += len(its) {
				if err := p.Put(context.Background(), its); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
			s := p.Stats()
			b.ReportMetric(float64(s.FrameBytes)/float64(s.Published), "bytes/record")
		})
	}
}

// BenchmarkConsume reads what has been published.
func BenchmarkConsume(b *testing.B) {
	bus := openEmbedded(b, b.TempDir(), config.BusConfig{MaxBytes: 4 << 30})
	p := bus.Publisher("x", PublisherOptions{})
	its := random(0, 1000, 350)
	for i := range its {
		its[i].Data = append(its[i].Data, make([]byte, 650)...)
	}
	total := 0
	for ; total < b.N; total += len(its) {
		if err := p.Put(context.Background(), its); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	if err := bus.Consume(ctx, "x", "d", ConsumeOptions{Stable: true}, func(_ context.Context, batch Batch) error {
		if n += len(batch.Records); n >= total {
			cancel()
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
