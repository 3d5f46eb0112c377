package anthropic

import (
	"encoding/json"

	"github.com/telltale-llm/telltale/internal/provider/wire"
)

// streamError reads the data of an error event: {"type":"error","error":{"type","message"}}.
func streamError(raw string) *wire.APIError {
	var w struct {
		Error *wire.APIError `json:"error"`
	}
	if json.Unmarshal([]byte(raw), &w) == nil && w.Error.Says() {
		return w.Error
	}
	return &wire.APIError{Message: raw}
}
