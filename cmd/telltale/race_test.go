//go:build race

package main

// raced says that the programs of the tests look for races, which takes a multiple of their memory.
const raced = true
