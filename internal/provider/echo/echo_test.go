package echo

import (
	"errors"
	"fmt"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/provider/providertest"
	"github.com/telltale-llm/telltale/internal/record"
)

func TestConformance(t *testing.T) {
	text := func(n int) string { return fmt.Sprintf("text %d\n\"é\"", n) }
	providertest.Run(t, providertest.Subject{
		New: func(t *testing.T) providertest.Provider {
			p, err := FromConfig(config.Provider{ID: "echo"})
			if err != nil {
				t.Fatal(err)
			}
			return p
		},
		Request: func(n int) record.Request { return record.Request{Prompt: text(n)} },
		Want:    text,
	})
}

func TestSettingsAreRefused(t *testing.T) {
	_, err := FromConfig(config.Provider{ID: "echo", Config: config.Object{Map: map[string]any{"loud": true}}})
	var e *config.Error
	if !errors.As(err, &e) {
		t.Errorf("got %v, want a config error", err)
	}
}
