package loopback

import "testing"

func TestListen(t *testing.T) {
	f := func(addr string, remote, ok bool) {
		t.Helper()
		ln, err := Listen(t.Context(), Options{Addr: addr, AllowRemote: remote})
		if (err == nil) != ok {
			t.Errorf("%q, remote %v: %v", addr, remote, err)
		}
		if err == nil {
			_ = ln.Close()
		}
	}
	f("127.0.0.1:0", false, true)
	f(":0", false, true)
	f("localhost:0", false, true)
	f("0.0.0.0:0", false, false)
	f("192.0.2.1:0", false, false)
	f("example.com:0", false, false)
	f("127.0.0.1", false, false)
	f("8089", false, false)
	f("0.0.0.0:0", true, true)
}
