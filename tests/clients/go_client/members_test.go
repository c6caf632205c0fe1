// Programs with client/v3, run on the three members whose addresses ENDPOINTS holds. CONTROL is the
// address of the server that kills and starts members. Each test deletes what it wrote.
package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

var endpoints = strings.Split(os.Getenv("ENDPOINTS"), ",")

// connect returns a client of all members, or of those given.
func connect(t *testing.T, addresses ...string) *clientv3.Client {
	t.Helper()
	if addresses == nil {
		addresses = endpoints
	}
	return open(t, clientv3.Config{Endpoints: addresses})
}

func open(t *testing.T, config clientv3.Config) *clientv3.Client {
	t.Helper()
	config.DialTimeout = 5 * time.Second
	config.DialKeepAliveTime = 5 * time.Second
	config.DialKeepAliveTimeout = 3 * time.Second
	config.Logger = zap.NewNop()
	client, err := clientv3.New(config)
	must(t, err)
	t.Cleanup(func() { client.Close() })
	return client
}

// scope returns a prefix of keys that only this test uses.
func scope(t *testing.T, client *clientv3.Client) string {
	t.Helper()
	prefix := strings.ReplaceAll(t.Name(), "/", ".") + "/"
	t.Cleanup(func() {
		_, err := client.Delete(context.Background(), prefix, clientv3.WithPrefix())
		must(t, err)
	})
	return prefix
}

// limited ends whatever takes longer than any test should.
func limited(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want[T comparable](t *testing.T, found, wanted T) {
	t.Helper()
	if found != wanted {
		t.Fatalf("%v is not %v", found, wanted)
	}
}

func refused(t *testing.T, err, wanted error) {
	t.Helper()
	if !errors.Is(err, wanted) {
		t.Fatalf("%v expected, not %v", wanted, err)
	}
}

func eventually(t *testing.T, text string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: " + text)
		}
	}
}

func value(t *testing.T, kv clientv3.KV, key string, options ...clientv3.OpOption) string {
	t.Helper()
	got, err := kv.Get(limited(t), key, options...)
	must(t, err)
	if len(got.Kvs) == 0 {
		return "absent"
	}
	return string(got.Kvs[0].Value)
}

// put writes until that is acknowledged: the first attempts after a crash may not be.
func put(t *testing.T, kv clientv3.KV, key, val string, options ...clientv3.OpOption) (revision int64) {
	t.Helper()
	ctx := limited(t)
	must(t, again(ctx, func() error {
		done, err := kv.Put(ctx, key, val, options...)
		if err == nil {
			revision = done.Header.Revision
		}
		return err
	}))
	return revision
}

// leader returns the index of the member that leads.
func leader(t *testing.T, client *clientv3.Client) int {
	t.Helper()
	found := -1
	eventually(t, "a leader", func() bool {
		for index, endpoint := range endpoints {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			status, err := client.Status(ctx, endpoint)
			cancel()
			if err == nil && status.Leader == status.Header.MemberId {
				found = index
			}
		}
		return found >= 0
	})
	return found
}

func control(t *testing.T, action string, index int) {
	t.Helper()
	url := fmt.Sprintf("http://%s/%s/%d", os.Getenv("CONTROL"), action, index)
	answer, err := http.Post(url, "text/plain", nil)
	must(t, err)
	text, _ := io.ReadAll(answer.Body)
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", url, text)
	}
}

// kill ends a member at once; it runs again at the end of the test.
func kill(t *testing.T, index int) {
	t.Helper()
	t.Cleanup(func() { control(t, "start", index) })
	control(t, "kill", index)
}
