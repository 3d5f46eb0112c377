package pipeline

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv("TELLTALE_PIPELINE_CHILD") != "" {
		childWork()
		return
	}
	goleak.VerifyTestMain(m)
}
