package textmetric

import "testing"

// One answer of a paragraph against one reference, prepared anew each time as it is when every
// case has a reference of its own.
func Benchmark(b *testing.B) {
	v := loadVectors(b)
	var hyp, ref string
	for _, p := range v.Pairs {
		if p.Name == "long" {
			hyp, ref = p.Hypothesis[:600], p.References[0][:600]
		}
	}
	refs := []string{ref}
	for name, f := range map[string]func(){
		"squad":  func() { NewGolds(refs).F1(hyp) },
		"bleu":   func() { BLEU{}.References(refs).Stats(hyp) },
		"chrf":   func() { CHRF{}.References(refs).Stats(hyp) },
		"chrf++": func() { CHRF{WordOrder: 2}.References(refs).Stats(hyp) },
		"gleu":   func() { GLEU{}.References(refs).Stats(hyp) },
		"rouge2": func() { _, _ = ROUGE{N: 2, Stem: true}.References(refs).Score(hyp) },
		"rougeL": func() { _, _ = ROUGE{Variant: RougeL}.References(refs).Score(hyp) },
		"rougeLsum": func() {
			_, _ = ROUGE{Variant: RougeLsum}.References(refs).Score(hyp)
		},
		"meteor": func() { METEOR{}.References(refs).Score(hyp) },
		"number": func() { FlexibleNumber(hyp) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
		})
	}
}
