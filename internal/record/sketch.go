package record

import (
	"bytes"
	"fmt"
	"math"

	"github.com/DataDog/sketches-go/ddsketch"
	"github.com/DataDog/sketches-go/ddsketch/mapping"
	"github.com/DataDog/sketches-go/ddsketch/pb/sketchpb"
	"github.com/DataDog/sketches-go/ddsketch/store"
	"google.golang.org/protobuf/proto"
)

// SketchError is the relative error of a Sketch's quantiles: a value v is told as one between v(1-e) and v(1+e).
const SketchError = .01

// sketchBins bounds a sketch. 2048 bins of 1% span 17 orders of magnitude, from a nanosecond to years; below that the lowest
// bins are taken together.
const sketchBins = 2048

// Sketch is a DDSketch (Masson, Rim, Lee: DDSketch, VLDB 2019): quantiles of numbers with a relative error, that can
// be merged. It must be made by NewSketch or ReadSketch, and is not safe for concurrent use.
type Sketch struct{ d *ddsketch.DDSketch }

// NewSketch returns an empty sketch.
func NewSketch() *Sketch {
	m, err := mapping.NewLogarithmicMapping(SketchError)
	if err != nil {
		panic(err) // only for another SketchError
	}
	return &Sketch{ddsketch.NewDDSketch(m, store.NewCollapsingLowestDenseStore(sketchBins), store.NewCollapsingLowestDenseStore(sketchBins))}
}

// ReadSketch reads what Bytes wrote.
func ReadSketch(b []byte) (*Sketch, error) {
	var pb sketchpb.DDSketch
	if err := proto.Unmarshal(b, &pb); err != nil {
		return nil, fmt.Errorf("sketch: %w", err)
	}
	for _, s := range []*sketchpb.Store{pb.GetPositiveValues(), pb.GetNegativeValues()} {
		if len(s.GetBinCounts()) > sketchBins || len(s.GetContiguousBinCounts()) > sketchBins {
			return nil, fmt.Errorf("sketch: more than %d bins", sketchBins)
		}
	}
	d, err := ddsketch.FromProtoWithStoreProvider(&pb, func() store.Store { return store.NewCollapsingLowestDenseStore(sketchBins) })
	if err != nil {
		return nil, fmt.Errorf("sketch: %w", err)
	}
	return &Sketch{d}, nil
}

// Add counts a value. Values that are no numbers are left out.
func (s *Sketch) Add(v float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return
	}
	// The only errors are of numbers above what a float64's logarithm can index: also left out.
	_ = s.d.Add(v)
}

// Merge adds another sketch's values.
func (s *Sketch) Merge(o *Sketch) error { return s.d.MergeWith(o.d) }

// Count is how many values there are.
func (s *Sketch) Count() float64 { return s.d.GetCount() }

// Quantile returns the value at q from 0 to 1, NaN for an empty sketch.
func (s *Sketch) Quantile(q float64) float64 {
	v, err := s.d.GetValueAtQuantile(q)
	if err != nil {
		return math.NaN()
	}
	return v
}

// Bytes is the sketch as DDSketch's protobuf message.
func (s *Sketch) Bytes() []byte {
	var b bytes.Buffer
	s.d.EncodeProto(&b)
	return b.Bytes()
}

// Merge adds another roll-up's counts and sketches. Key and ID stay as they are.
func (r *Rollup) Merge(o *Rollup) error {
	if r.Counts == nil {
		r.Counts = make(map[string]float64, len(o.Counts))
	}
	for name, n := range o.Counts {
		r.Counts[name] += n
	}
	if r.Sketches == nil {
		r.Sketches = make(map[string][]byte, len(o.Sketches))
	}
	for name, b := range o.Sketches {
		mine, ok := r.Sketches[name]
		if !ok {
			r.Sketches[name] = b
			continue
		}
		s, err := ReadSketch(mine)
		if err != nil {
			return err
		}
		other, err := ReadSketch(b)
		if err != nil {
			return err
		}
		if err := s.Merge(other); err != nil {
			return fmt.Errorf("sketch %s: %w", name, err)
		}
		r.Sketches[name] = s.Bytes()
	}
	return nil
}
