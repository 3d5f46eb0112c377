package record

// MaxCurves is how many calibration curves a run keeps, MaxCurveBins how many bins one has at most.
const (
	MaxCurves    = 40
	MaxCurveBins = 100
)

// CalibrationCurve holds the confidence of answers against how often they were right: a reliability diagram.
type CalibrationCurve struct {
	// Metric is the name of the calibration score; the gate's numbers, with intervals, are the metrics Metric.ece and so on.
	Metric string `json:"metric"`
	// Snapshot is the id of the snapshot that answered; empty for all answers of the run.
	Snapshot string `json:"snapshot,omitempty"`
	// Source says in words where the confidence comes from, Binning how it is binned.
	Source  string `json:"source"`
	Binning string `json:"binning"`
	N       int    `json:"n"`
	// Missing counts scores without a confidence or an outcome.
	Missing int              `json:"missing,omitempty"`
	Bins    []CalibrationBin `json:"bins"` // those that hold an answer, from the lowest up
	// EqualWidth is of Bins, EqualMass of bins with about as many answers each.
	EqualWidth CalibrationErrors `json:"equal_width"`
	EqualMass  CalibrationErrors `json:"equal_mass"`
	Brier      BrierParts        `json:"brier"`
	LogLoss    float64           `json:"log_loss"` // nats an answer
}

// CalibrationBin is the answers with a confidence above Low and up to High; the first bin holds 0 too.
type CalibrationBin struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
	N    int     `json:"n"`
	// Confidence is the mean of what was stated, Rate the share that was right with its 95% interval.
	Confidence float64 `json:"confidence"`
	Rate       float64 `json:"rate"`
	RateLow    float64 `json:"rate_low"`
	RateHigh   float64 `json:"rate_high"`
}

// CalibrationErrors are distances of confidence and rate over bins; Debiased is nil where no bin holds two answers.
type CalibrationErrors struct {
	Bins     int      `json:"bins"` // that hold an answer
	ECE      float64  `json:"ece"`
	MCE      float64  `json:"mce"`
	Debiased *float64 `json:"ece_debiased"`
}

// BrierParts is the mean squared error of the confidence: Reliability − Resolution + Uncertainty + WithinBins.
type BrierParts struct {
	Score       float64 `json:"score"`
	Reliability float64 `json:"reliability"`
	Resolution  float64 `json:"resolution"`
	Uncertainty float64 `json:"uncertainty"`
	// WithinBins is what differs inside bins: the variance of the confidence less twice its covariance with the outcome.
	WithinBins float64 `json:"within_bins"`
}
