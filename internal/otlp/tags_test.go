package otlp

import (
	"reflect"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/telltale-llm/telltale/internal/record"
)

// Tags may be the span's or the process's; the span's hold, and both hold over what the process says for everybody.
func TestTagsOfTheResource(t *testing.T) {
	f := func(span, resource map[string]any, want map[string]string) {
		t.Helper()
		a, b := pcommon.NewMap(), pcommon.NewMap()
		put(t, a, span)
		put(t, b, resource)
		var x record.Exchange
		people(&x, attrsOf(a), attrsOf(b))
		if !reflect.DeepEqual(x.Tags, want) {
			t.Errorf("%v and %v: %v, want %v", span, resource, x.Tags, want)
		}
	}
	f(nil, map[string]any{"telltale.tag.version": "v2"}, map[string]string{"version": "v2"})
	f(map[string]any{"telltale.tag.version": "v3"}, map[string]any{"telltale.tag.version": "v2", "telltale.tag.team": "a"}, map[string]string{"version": "v3", "team": "a"})
	f(nil, map[string]any{"service.version": "1.2"}, map[string]string{"version": "1.2"})
	f(map[string]any{"telltale.tag.version": "v3"}, map[string]any{"service.version": "1.2"}, map[string]string{"version": "v3"})
}
