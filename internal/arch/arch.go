// Package arch holds the rules of the repository that a test can check: which package may import
// which, and how sources are laid out. It has no code of its own.
package arch
