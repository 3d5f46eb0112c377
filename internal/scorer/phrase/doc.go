// Package phrase finds any of many phrases in a text, in time that hardly depends on how many
// there are, and as a reader would see them: it can look through case, width, invisible
// characters and letters of other scripts that look like Latin ones.
//
// Matcher is an exact Aho–Corasick automaton over bytes. Folding turns a text into the form in
// which two spellings that are to be taken for the same are the same bytes. Set joins the two:
// phrases are folded once when it is built, each text once when it is searched, and what was found
// is reported by its place in the text as it stood. It is not for regular expressions or for
// matching by meaning.
package phrase
