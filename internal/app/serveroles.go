package app

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/store"
)

// errNoRole is why a process has no bus or no store: its roles need none.
var errNoRole = errors.New("this process needs none for its roles")

// usesBus and usesStore say what the roles of a process need.
func usesBus(s *config.Server) bool {
	return s.Has(config.RoleGateway) || s.Has(config.RoleIngest) || s.Has(config.RoleWorker) || s.Has(config.RoleControl)
}

func usesStore(s *config.Server) bool {
	return s.Has(config.RoleWorker) || s.Has(config.RoleAPI)
}

// readable returns the store for those who ask, whom only a process with the role api answers.
func (s *Service) readable() (store.Store, error) {
	if !s.state.Load().server.Has(config.RoleAPI) {
		return nil, errors.New("this process has not the role " + config.RoleAPI + ": ask one that has")
	}
	return s.store.get()
}

// absent answers in the place of what another process does.
func absent(role string) http.Handler {
	text, err := json.Marshal(map[string]any{"title": http.StatusText(http.StatusNotFound), "status": http.StatusNotFound, "detail": "this process has not the role " + role + ": send it to one that has"})
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusNotFound)
		if err == nil {
			_, _ = w.Write(text)
		}
	})
}
