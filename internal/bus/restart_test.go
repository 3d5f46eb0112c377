package bus

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
)

// TestRestart starts the embedded server again under load: it is what happens after a full disk.
func TestRestart(t *testing.T) {
	b := openEmbedded(t, t.TempDir(), config.BusConfig{})
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	p := b.Publisher("x", PublisherOptions{FrameBytes: 8 << 10, Linger: time.Millisecond})
	c := collect(4000)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 40 {
			if err := p.Put(ctx, items(100*i, 100, 100)); err != nil {
				t.Errorf("%v %+v", err, p.Stats())
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	wg.Go(func() {
		for range 3 {
			time.Sleep(300 * time.Millisecond)
			if err := b.embedded.restart(ctx); err != nil {
				t.Error(err)
			}
			b.forget()
		}
	})
	consume(ctx, t, b, ConsumeOptions{Stable: true, AckWait: time.Second, FirstRetry: 10 * time.Millisecond}, c, nil)
	wg.Wait()
	for id, n := range c.times {
		if n > 1 {
			t.Logf("%s came %d times", id, n)
		}
	}
}
