package actuator

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	kerrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// HTTPRouteOptions name the route and the two services behind it.
type HTTPRouteOptions struct {
	Namespace string // default
	Name      string
	// Baseline and Candidate are the names of backends (backendRefs[].name). Every rule that has both is changed.
	Baseline, Candidate string
	// Kubeconfig is a file, Context one of its contexts; without a file the pod's own service account is used, or what kubectl would use.
	Kubeconfig, Context string
}

// HTTPRoute sets the weights of a Gateway API HTTPRoute. Other backends of a rule keep their weights: the two share what they
// had together, or 1000 where they had none.
type HTTPRoute struct {
	o      HTTPRouteOptions
	routes dynamic.ResourceInterface
}

var httpRoutes = schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"}

// parts are the weights that two backends share where they have none yet: a tenth of a percent each.
const parts = 1000

// NewHTTPRoute connects to nothing yet.
func NewHTTPRoute(o HTTPRouteOptions) (*HTTPRoute, error) {
	if o.Name == "" || o.Baseline == "" || o.Candidate == "" || o.Baseline == o.Candidate {
		return nil, errors.New("actuator: HTTPRoute: want the route's name and those of two backends")
	}
	if o.Namespace == "" {
		o.Namespace = "default"
	}
	cfg, err := kubeconfig(o)
	if err != nil {
		return nil, fmt.Errorf("actuator: HTTPRoute: %w", err)
	}
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("actuator: HTTPRoute: %w", err)
	}
	return &HTTPRoute{o, client.Resource(httpRoutes).Namespace(o.Namespace)}, nil
}

func kubeconfig(o HTTPRouteOptions) (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	if o.Kubeconfig != "" {
		rules.ExplicitPath = o.Kubeconfig
	}
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: o.Context}).ClientConfig()
	if err != nil {
		return nil, err
	}
	cfg.UserAgent, cfg.Timeout = "telltale", 10*time.Second
	return cfg, nil
}

// Name names the route.
func (h *HTTPRoute) Name() string { return "httproute " + h.o.Namespace + "/" + h.o.Name }

// Apply sets the weights. A change by someone else meanwhile is met by reading again.
func (h *HTTPRoute) Apply(ctx context.Context, c Change) error {
	for range 5 {
		obj, err := h.routes.Get(ctx, h.o.Name, meta.GetOptions{})
		if err != nil {
			return err
		}
		changed, err := h.weigh(obj, c.Weight)
		if err != nil {
			return err
		}
		if !changed {
			return nil
		}
		if _, err = h.routes.Update(ctx, obj, meta.UpdateOptions{FieldManager: "telltale"}); err == nil {
			return nil
		}
		if !kerrors.IsConflict(err) {
			return err
		}
	}
	return errors.New("others keep changing the route")
}

// weigh changes the weights in every rule that has both backends.
func (h *HTTPRoute) weigh(obj *unstructured.Unstructured, weight float64) (changed bool, err error) {
	rules, _, err := unstructured.NestedSlice(obj.Object, "spec", "rules")
	if err != nil {
		return false, err
	}
	found := false
	for _, r := range rules {
		rule, ok := r.(map[string]any)
		if !ok {
			continue
		}
		refs, _ := rule["backendRefs"].([]any)
		base, cand := backend(refs, h.o.Baseline), backend(refs, h.o.Candidate)
		if base == nil || cand == nil {
			continue
		}
		found = true
		// Small weights such as 1 and 0 could not be divided further.
		total := weightOf(base) + weightOf(cand)
		if total < parts {
			if len(refs) > 2 && total > 0 {
				return false, fmt.Errorf("the backends %s and %s weigh %d together beside others: want at least %d, so that they can be divided", h.o.Baseline, h.o.Candidate, total, parts)
			}
			total = parts
		}
		n := int64(math.Round(weight * float64(total)))
		if n == 0 && weight > 0 {
			n = 1
		}
		changed = set(cand, n) || changed
		changed = set(base, total-n) || changed
	}
	if !found {
		return false, fmt.Errorf("no rule of %s has the backends %s and %s", h.Name(), h.o.Baseline, h.o.Candidate)
	}
	return changed, unstructured.SetNestedSlice(obj.Object, rules, "spec", "rules")
}

func backend(refs []any, name string) map[string]any {
	for _, r := range refs {
		if ref, ok := r.(map[string]any); ok && ref["name"] == name {
			return ref
		}
	}
	return nil
}

// weightOf is a backend's weight, 1 where it is not given, as the Gateway API has it.
func weightOf(ref map[string]any) int64 {
	switch v := ref["weight"].(type) {
	case int64:
		return v
	case float64:
		return int64(v)
	}
	return 1
}

func set(ref map[string]any, n int64) bool {
	if v, ok := ref["weight"].(int64); ok && v == n {
		return false
	}
	ref["weight"] = n
	return true
}
