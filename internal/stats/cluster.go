package stats

// Clustered feeds a Ratio one observation at a time. Observations of a cluster either come one
// after another (Next), which takes constant memory, or in any order under a key (Keyed), which
// keeps one partial sum for each key. The two kinds never share a cluster. The zero value is empty.
type Clustered struct {
	closed Ratio
	open   part
	openID uint64
	index  map[int]int // key → position in keyed
	keyed  []part      // in order of first appearance, so that sums do not depend on map order
}

type part struct {
	n    int
	y, w Sum
}

func (p *part) add(y, w float64) {
	p.n++
	p.y.Add(y)
	p.w.Add(w)
}

func (p *part) closeInto(r *Ratio) { r.AddCluster(p.n, p.y.Value(), p.w.Value()) }

// Next adds an observation to the cluster id; another id than the last one closes that one. It
// reports whether a cluster was opened.
func (c *Clustered) Next(id uint64, y, w float64) (opened bool) {
	opened = c.open.n == 0 || c.openID != id
	if opened {
		c.open.closeInto(&c.closed)
		c.open, c.openID = part{}, id
	}
	c.open.add(y, w)
	return opened
}

// Keyed adds an observation to the cluster of key, which stays open to the end. It returns the
// cluster's ordinal among the keyed ones.
func (c *Clustered) Keyed(key int, y, w float64) (ordinal int, opened bool) {
	i, ok := c.index[key]
	if !ok {
		if c.index == nil {
			c.index = map[int]int{}
		}
		i = len(c.keyed)
		c.index[key] = i
		c.keyed = append(c.keyed, part{})
	}
	c.keyed[i].add(y, w)
	return i, !ok
}

// Ratio returns the estimate so far, with every open cluster counted as it stands. It leaves c as
// it was.
func (c *Clustered) Ratio() Ratio {
	r := c.closed
	c.open.closeInto(&r)
	for i := range c.keyed {
		c.keyed[i].closeInto(&r)
	}
	return r
}

// NaiveSE returns the sample standard deviation (n−1) of xs over √n, which is right only when the
// observations are independent. ok is false below two of them.
func NaiveSE(xs []float64) (se float64, ok bool) {
	var r Ratio
	for _, x := range xs {
		r.AddCluster(1, x, 1)
	}
	return r.SE()
}

// ClusteredSE returns the standard error of the mean of xs, whose i-th value belongs to cluster
// groups[i]: √(Σ_c(Σ_{i∈c}(x_i − x̄))²)/n. ok is false below two clusters and when the lengths differ.
func ClusteredSE(xs []float64, groups []int) (se float64, ok bool) {
	if len(xs) != len(groups) {
		return 0, false
	}
	var c Clustered
	for i, x := range xs {
		c.Keyed(groups[i], x, 1)
	}
	r := c.Ratio()
	return r.ClusteredSE()
}
