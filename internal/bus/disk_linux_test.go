package bus

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/telltale-llm/telltale/internal/config"
)

// smallDisk is a directory on a disk of its own.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("a small disk cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestDiskFull fills the disk: offers never wait, what does not fit in the buffer is counted, and all goes on once there
// is space again; with the reserve, and without, when the server itself runs into the end of the disk.
func TestDiskFull(t *testing.T) {
	f := func(name string, reserve uint64) {
		t.Run(name, func(t *testing.T) {
			dir := smallDisk(t, "24m")
			tune := quick()
			tune.reserve = reserve
			b, err := open(t.Context(), config.BusConfig{MaxBytes: 1 << 30}, dir, quiet(), tune)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := b.Close(); err != nil {
					t.Error(err)
				}
			})
			ctx := ctxFor(t)
			p := b.Publisher("x", PublisherOptions{MaxRecords: 2000, FrameBytes: 64 << 10})
			if err := p.Put(ctx, random(0, 100, 1000)); err != nil {
				t.Fatal(err)
			}
			fill := filepath.Join(dir, "ballast")
			fillDisk(t, fill)
			time.Sleep(3 * tune.watch)
			slowest := time.Duration(0)
			for i := 1; i <= 50; i++ {
				for _, it := range random(i, 100, 1000) {
					begin := time.Now()
					p.Offer(it.ID, it.Data)
					slowest = max(slowest, time.Since(begin))
				}
				time.Sleep(2 * time.Millisecond)
			}
			s := p.Stats()
			if s.Dropped[DiskFull]+s.Dropped[Down]+s.Dropped[Busy] == 0 || s.Pending != 2000 {
				t.Errorf("%+v", s)
			}
			if h := b.Health(ctx); h.OK {
				t.Errorf("%+v", h)
			}
			if err := os.Remove(fill); err != nil {
				t.Fatal(err)
			}
			if err := p.Flush(ctx); err != nil {
				t.Fatalf("%v: %+v %+v", err, p.Stats(), b.Health(ctx))
			}
			s = p.Stats()
			t.Logf("slowest offer %v; %+v", slowest, s)
			if s.Published+s.Dropped[DiskFull]+s.Dropped[Down]+s.Dropped[Busy] != s.Offered {
				t.Errorf("%+v", s)
			}
			c := collect(int(s.Published))
			consume(ctx, t, b, ConsumeOptions{}, c, nil)
		})
	}
	f("reserve", 4<<20)
	f("no reserve", 0)
}

func fillDisk(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 1<<16)
	for {
		if _, err := f.Write(block); err != nil {
			break
		}
	}
}
