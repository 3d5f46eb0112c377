package main

import (
	"os/exec"
	"testing"
)

// needPrograms skips a test that runs a suite's code where what runs it is not there.
func needPrograms(t *testing.T) {
	t.Helper()
	for _, name := range []string{"node", "python3"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skip(err)
		}
	}
}
