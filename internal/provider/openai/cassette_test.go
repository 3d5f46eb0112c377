package openai

import (
	"flag"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/provider"
	"github.com/telltale-llm/telltale/internal/provider/providertest"
)

var update = flag.Bool("update", false, "rewrite what cassettes expect")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testKey is the API key of all tests. It must never show.
const testKey = "sk-cassette-key-for-the-test"

// testEnv has the key for everybody.
func testEnv(name string) (string, bool) {
	if strings.HasSuffix(name, "_API_KEY") {
		return testKey, true
	}
	return "", false
}

// provide reads a provider from settings, pointed at a server when there is one.
func provide(t testing.TB, id string, settings map[string]any, server string) *Provider {
	t.Helper()
	m := map[string]any{}
	for k, v := range settings {
		m[k] = v
	}
	if server != "" {
		m["apiBaseUrl"] = server
	}
	prices, err := provider.LoadPrices("")
	if err != nil {
		t.Fatal(err)
	}
	p, err := FromConfig(config.Provider{ID: id, Config: config.Object{Map: m}}, Env{Lookup: testEnv, Prices: prices})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func TestCassettes(t *testing.T) {
	providertest.ReplayCassettes(t, providertest.Cassettes{
		Glob: "testdata/cassettes/*.txtar", Key: testKey, Update: *update,
		Headers: []string{"Authorization", "Api-Key", "Content-Type", "Accept-Encoding", "OpenAI-Organization", "User-Agent", "X-Title", "X-Stainless-Retry-Count"},
		New: func(t *testing.T, id string, settings map[string]any, server string) providertest.Provider {
			if !strings.HasPrefix(id, "azure") {
				server += "/v1"
			}
			p := provide(t, id, settings, server)
			vendors(p)
			return p
		},
	})
}

// vendors makes the provider take the test server for the vendor's own, so that prices apply.
func vendors(p *Provider) {
	if !p.flavour.priced {
		return
	}
	own := *p.base
	own.Host = "api.openai.com"
	if p.flavour.deployments {
		own.Host = "resource.openai.azure.com"
	}
	p.base = &own
}
