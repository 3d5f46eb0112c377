//go:build cgo && linux

package duckdb

/*
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

// The allocator inside DuckDB's library for Linux, jemalloc. Other builds of the library have none.
extern int duckdb_je_mallctl(const char *name, void *old, size_t *oldlen, void *new, size_t newlen) __attribute__((weak));

static void telltale_give_back(void) {
	ssize_t now = 0;
	unsigned arenas = 0, i;
	size_t len = sizeof arenas;
	char name[64];
	if (!duckdb_je_mallctl) return;
	duckdb_je_mallctl("arenas.dirty_decay_ms", NULL, NULL, &now, sizeof now);
	duckdb_je_mallctl("arenas.muzzy_decay_ms", NULL, NULL, &now, sizeof now);
	duckdb_je_mallctl("arenas.narenas", &arenas, &len, NULL, 0);
	for (i = 0; i < arenas; i++) {
		snprintf(name, sizeof name, "arena.%u.dirty_decay_ms", i);
		duckdb_je_mallctl(name, NULL, NULL, &now, sizeof now);
		snprintf(name, sizeof name, "arena.%u.muzzy_decay_ms", i);
		duckdb_je_mallctl(name, NULL, NULL, &now, sizeof now);
	}
}
*/
import "C"

// giveBack makes the engine's allocator return freed memory to the system at once. DuckDB writes blocks with whatever their
// unused ends held in memory: memory that was used before would carry old texts into the file, where no deleting reaches
// them; memory from the system is zero. It also keeps the process smaller after a checkpoint.
func giveBack() { C.telltale_give_back() }
