package stats

import "math"

// Reliability collects forecasts one at a time for a reliability diagram of equal-width bins, in memory that does not grow
// with their number but for about 60 bytes a key and bin.
//
// For bins of equal mass it counts forecasts in cells of 1/128 in ln(p/(1−p)), which is 0.002 in the middle and less towards
// the ends. Forecasts of one cell are taken for equal; where stated probabilities are multiples of 0.005, the bins are
// those of Calibrate.
type Reliability struct {
	bins  Bins
	edges []float64
	sums  []reliabilityBin
	cells []binSum // of equalMassCells
	loss  Sum
}

// reliabilityBin holds, besides the sums, those of p² and p·y, and the outcomes by cluster.
type reliabilityBin struct {
	binSum
	pp, py float64
	trials Clustered
}

// Equal-mass cells reach from −16 to 16 in ln(p/(1−p)); one more at each end holds the rest.
const (
	massReach      = 16
	massPerUnit    = 128
	equalMassCells = 2*massReach*massPerUnit + 2
)

// NewReliability returns an empty Reliability. ok is false for bins that are not of equal width.
func NewReliability(b Bins) (r *Reliability, ok bool) {
	if b.Kind != EqualWidth {
		return nil, false
	}
	return &Reliability{bins: b, edges: b.Edges(nil), sums: make([]reliabilityBin, b.count()), cells: make([]binSum, equalMassCells)}, true
}

// Next adds a forecast to the cluster id; those of a cluster come one after another, as Clustered.Next wants it. ok is
// false for a probability outside [0, 1], which is not added.
func (r *Reliability) Next(id uint64, p float64, hit bool) (ok bool) {
	k, ok := r.add(p, hit)
	if ok {
		r.sums[k].trials.Next(id, indicator(hit), 1)
	}
	return ok
}

// Keyed adds a forecast to the cluster of a key, in any order.
func (r *Reliability) Keyed(key int, p float64, hit bool) (ok bool) {
	k, ok := r.add(p, hit)
	if ok {
		r.sums[k].trials.Keyed(key, indicator(hit), 1)
	}
	return ok
}

func (r *Reliability) add(p float64, hit bool) (bin int, ok bool) {
	if !(p >= 0 && p <= 1) {
		return 0, false
	}
	bin = assign([]float64{p}, r.edges)[0]
	s := &r.sums[bin]
	s.binSum.add(p, hit)
	s.pp += p * p
	s.py += p * indicator(hit)
	r.cells[massCell(p)].add(p, hit)
	loss, _ := LogLoss(Forecasts{P: []float64{p}, Hit: []bool{hit}})
	r.loss.Add(loss)
	return bin, true
}

func massCell(p float64) int {
	z := math.Log(p) - math.Log1p(-p) // −Inf at 0, +Inf at 1
	k := math.Floor((z+massReach)*massPerUnit) + 1
	return int(math.Min(math.Max(k, 0), equalMassCells-1))
}

// Diagram is what a Reliability finds.
type Diagram struct {
	Width, Mass Calibration // by bins of equal width, and of equal mass
	Brier       Brier       // over the bins of equal width
	LogLoss     float64
}

// Finish returns the diagram of the forecasts so far; ok is false without any. r stays as it was.
func (r *Reliability) Finish() (d Diagram, ok bool) {
	sums := make([]binSum, len(r.sums))
	var all binSum
	for k := range r.sums {
		s := &r.sums[k]
		sums[k] = s.binSum
		all.n, all.p, all.y = all.n+s.n, all.p+s.p, all.y+s.y
	}
	if all.n == 0 {
		return Diagram{}, false
	}
	d.Width = calibrationOf(sums, r.edges, func(k int) Interval { return clusteredShare(&r.sums[k].trials, int(sums[k].n)) })
	d.Mass = r.mass(int(all.n))
	base := all.y / all.n
	b := &d.Brier
	b.Uncertainty = base * (1 - base)
	for k := range r.sums {
		s := &r.sums[k]
		if s.n == 0 {
			continue
		}
		p, y := s.p/s.n, s.y/s.n
		b.Score += (s.pp - 2*s.py + s.y) / all.n
		b.Reliability += s.n * (p - y) * (p - y) / all.n
		b.Resolution += s.n * (y - base) * (y - base) / all.n
		b.WithinVariance += math.Max(0, s.pp-s.n*p*p) / all.n
		b.WithinCovariance += 2 * (s.py - s.n*p*y) / all.n
	}
	d.LogLoss = r.loss.Value() / all.n
	return d, true
}

// mass cuts the cells where Bins.Edges of EqualMass cuts the sorted forecasts.
func (r *Reliability) mass(n int) Calibration {
	count := min(r.bins.count(), n)
	var sums []binSum
	var edges []float64
	var open binSum
	seen, cut, part := 0, 0, 0 // forecasts passed, where the open part ends, its number
	next := func() {
		for cut <= seen && part < count {
			cut += n / count
			if part < n%count {
				cut++
			}
			part++
		}
	}
	next()
	for k := range r.cells {
		c := r.cells[k]
		if c.n == 0 {
			continue
		}
		open.n, open.p, open.y = open.n+c.n, open.p+c.p, open.y+c.y
		seen += int(c.n)
		if seen >= cut {
			sums, edges, open = append(sums, open), append(edges, c.p/c.n), binSum{}
			next()
		}
	}
	edges[len(edges)-1] = 1
	return calibrationOf(sums, edges, func(k int) Interval { return shareInterval(sums[k].y, sums[k].n) })
}
