package leak

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

func allSecrets(t testing.TB) *Secrets {
	t.Helper()
	s, err := NewSecrets(nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Credentials are put together here so that no scanner takes this file for a leak.
func TestFindSecrets(t *testing.T) {
	s := allSecrets(t)
	f := func(text string, want ...string) {
		t.Helper()
		var got []string
		for _, x := range s.Find(text) {
			got = append(got, x.Type+":"+text[x.Start:x.End])
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	github := "ghp" + "_9fK2mX7qLs4Tz8VbN1cR6yWd3HgJ5pEa0uQi"
	aws := "AKIA" + "4XK7Q2MNB5VZT3HL"
	slack := "xoxb" + "-263594206564-2343594206574-FGqddMF8t08v8N7Oq4i57vs1"
	stripe := "sk_live" + "_4eC39HqLyjWDarjtT1zdp7dc"
	f("")
	f("The key to success is a secret: work hard, and the token of it is your password to life.")
	f("Set API_KEY=YOUR_API_KEY and password: changeme.")
	f("export TOKEN=${GITHUB_TOKEN}")
	f("Use "+github+" to push.", "github-pat:"+github)
	f("id "+aws+"\n", "aws-access-token:"+aws)
	f("slack "+slack, "slack-bot-token:"+slack)
	f("stripe key "+stripe+" is live", "stripe-access-token:"+stripe)
	f(aws+" and "+github, "aws-access-token:"+aws, "github-pat:"+github)
	f("AKIA" + "AAAAAAAAAAAAAAAA") // no entropy
	generic := "x7Kp2mQ9vL4nR8tW3zB6"
	f(`api_key = "`+generic+`"`, "generic-api-key:"+generic)
	f(`api_key = "aaaaaaaaaaaaaaaaaaaa1"`)
	pem := "-----BEGIN RSA PRIVATE KEY-----\n" + strings.Repeat("MIIEpAIBAAKCAQEA7Kp2mQ9vL4nR8tW3zB6xY1cD5fG0hJ\n", 3) + "-----END RSA PRIVATE KEY-----"
	f("here:\n"+pem, "private-key:"+pem)
}

func TestSecretsExclude(t *testing.T) {
	s, err := NewSecrets([]string{"generic-api-key"})
	if err != nil {
		t.Fatal(err)
	}
	const text = `api_key = "x7Kp2mQ9vL4nR8tW3zB6"`
	if found := s.Find(text); len(found) != 0 {
		t.Errorf("%v was found by an excluded rule", found)
	}
	if found := allSecrets(t).Find(text); len(found) != 1 {
		t.Errorf("excluding a rule changed the others: %v", found)
	}
	if _, err := NewSecrets([]string{"no-such-rule"}); err == nil {
		t.Error("an unknown rule was taken")
	}
}

// Every pattern must compile, and a secret group must exist: they are only compiled when needed.
func TestRulesCompile(t *testing.T) {
	s := allSecrets(t)
	if len(s.rules) < 200 {
		t.Errorf("%d rules", len(s.rules))
	}
	for _, r := range s.rules {
		if r.pattern().NumSubexp() < r.group {
			t.Errorf("%s has no group %d", r.id, r.group)
		}
		for _, a := range r.allow {
			a.patterns()
		}
	}
	if len(s.allow[0].patterns()) == 0 || len(s.allow[0].stopWords) == 0 {
		t.Error("the global list of what is allowed is empty")
	}
}

func TestAllowance(t *testing.T) {
	digits := func() []*regexp.Regexp { return []*regexp.Regexp{regexp.MustCompile(`^\d+$`)} }
	none := func() []*regexp.Regexp { return nil }
	f := func(a allowance, secret, match, line string, want bool) {
		t.Helper()
		if got := a.allows(secret, match, line); got != want {
			t.Errorf("%q %q %q: %v", secret, match, line, got)
		}
	}
	f(allowance{patterns: digits}, "123", "k=123", "", true)
	f(allowance{patterns: digits, target: "match"}, "123", "k=123", "", false)
	f(allowance{patterns: digits, target: "line"}, "x", "x", "99", true)
	f(allowance{patterns: none, stopWords: []string{"test"}}, "myTESTkey", "", "", true)
	f(allowance{patterns: digits, stopWords: []string{"9"}, all: true}, "123", "", "", false)
	f(allowance{patterns: digits, stopWords: []string{"2"}, all: true}, "123", "", "", true)
	f(allowance{patterns: none}, "123", "", "", false)
	f(allowance{patterns: none, all: true}, "123", "", "", false)
}

func TestEntropy(t *testing.T) {
	f := func(s string, want float64) {
		t.Helper()
		if got := entropy(s); got != want {
			t.Errorf("%q: %v, want %v", s, got, want)
		}
	}
	f("", 0)
	f("aaaa", 0)
	f("abab", 1)
	f("abcd", 2)
}

func FuzzSecrets(f *testing.F) {
	for _, s := range []string{"", "key=", "token: abcdefghij1234567890", "ghp_", "\xffsecret=\xfe0123456789", "-----BEGIN PRIVATE KEY-----"} {
		f.Add(s)
	}
	s := allSecrets(f)
	f.Fuzz(func(t *testing.T, text string) {
		end := 0
		for _, x := range s.Find(text) {
			if x.Start < end || x.End <= x.Start || x.End > len(text) || x.Type == "" {
				t.Errorf("%q: %+v after %d", text, x, end)
			}
			end = x.End
		}
	})
}

func BenchmarkSecrets(b *testing.B) {
	s := allSecrets(b)
	text := strings.Repeat("Here is a plain answer about the capital of France, which is Paris. ", 8)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		s.Find(text)
	}
}
