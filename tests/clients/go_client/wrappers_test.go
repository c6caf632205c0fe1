package client

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/clientv3util"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.etcd.io/etcd/client/v3/kubernetes"
	"go.etcd.io/etcd/client/v3/leasing"
	"go.etcd.io/etcd/client/v3/mirror"
	"go.etcd.io/etcd/client/v3/namespace"
	"go.etcd.io/etcd/client/v3/ordering"
)

func leased(t *testing.T, client *clientv3.Client, prefix string, options ...concurrency.SessionOption) clientv3.KV {
	t.Helper()
	kv, stop, err := leasing.NewKV(client, prefix, options...)
	must(t, err)
	t.Cleanup(stop)
	return kv
}

func TestLeasing(t *testing.T) {
	client := connect(t)
	t.Run("serves a key it has read from memory", func(t *testing.T) {
		prefix := scope(t, client)
		kv := leased(t, client, prefix+"leases/")
		put(t, client, prefix+"a", "1")
		want(t, value(t, kv, prefix+"a"), "1")
		got, err := client.Get(limited(t), prefix+"leases/"+prefix+"a")
		must(t, err)
		want(t, len(got.Kvs), 1)
		// A plain client does not ask for the lease back: the old value stays in memory.
		put(t, client, prefix+"a", "2")
		want(t, value(t, kv, prefix+"a"), "1")
	})
	t.Run("gives up a key that another writes", func(t *testing.T) {
		prefix := scope(t, client)
		one, other := leased(t, client, prefix+"leases/"), leased(t, connect(t), prefix+"leases/")
		for round := range 5 {
			text := strconv.Itoa(round)
			put(t, one, prefix+"a", text)
			want(t, value(t, other, prefix+"a"), text)
			put(t, other, prefix+"a", "other"+text)
			want(t, value(t, one, prefix+"a"), "other"+text)
		}
		_, err := other.Delete(limited(t), prefix+"a")
		must(t, err)
		want(t, value(t, one, prefix+"a"), "absent")
	})
	t.Run("keeps transactions and deleted ranges apart", func(t *testing.T) {
		prefix := scope(t, client)
		one, other := leased(t, client, prefix+"leases/"), leased(t, connect(t), prefix+"leases/")
		for _, name := range []string{"a", "b", "c"} {
			put(t, one, prefix+"k/"+name, name)
			want(t, value(t, one, prefix+"k/"+name), name)
		}
		done, err := other.Txn(limited(t)).If(clientv3.Compare(clientv3.Value(prefix+"k/a"), "=", "a")).
			Then(clientv3.OpPut(prefix+"k/a", "txn"), clientv3.OpGet(prefix+"k/b")).Commit()
		must(t, err)
		want(t, done.Succeeded, true)
		want(t, value(t, one, prefix+"k/a"), "txn")
		done, err = one.Txn(limited(t)).If(clientv3util.KeyMissing(prefix + "k/a")).
			Else(clientv3.OpGet(prefix + "k/a")).Commit()
		must(t, err)
		want(t, string(done.Responses[0].GetResponseRange().Kvs[0].Value), "txn")
		gone, err := other.Delete(limited(t), prefix+"k/", clientv3.WithPrefix())
		must(t, err)
		want(t, gone.Deleted, 3)
		want(t, value(t, one, prefix+"k/b"), "absent")
	})
	t.Run("goes on when its session ends and a member crashes", func(t *testing.T) {
		prefix := scope(t, client)
		kv := leased(t, client, prefix+"leases/", concurrency.WithTTL(5))
		put(t, kv, prefix+"a", "1")
		want(t, value(t, kv, prefix+"a"), "1")
		got, err := client.Get(limited(t), prefix+"leases/", clientv3.WithPrefix())
		must(t, err)
		_, err = client.Revoke(limited(t), clientv3.LeaseID(got.Kvs[0].Lease))
		must(t, err)
		kill(t, leader(t, client))
		put(t, client, prefix+"a", "2")
		eventually(t, "new value", func() bool { return value(t, kv, prefix+"a") == "2" })
	})
}

func TestOrdering(t *testing.T) {
	client := connect(t)
	t.Run("never goes back over members of which one lags", func(t *testing.T) {
		key := scope(t, client) + "counter"
		reader := connect(t)
		kv := ordering.NewKV(reader.KV, ordering.NewOrderViolationSwitchEndpointClosure(reader))
		put(t, client, key, "0")
		lagging := (leader(t, client) + 1) % len(endpoints)
		control(t, "pause", lagging)
		writer := connect(t, endpoints[(lagging+2)%len(endpoints)])
		for number := range 50 {
			put(t, writer, key, strconv.Itoa(number))
		}
		control(t, "resume", lagging)
		var last int64
		for range 60 {
			got, err := kv.Get(limited(t), key, clientv3.WithSerializable())
			if err != nil {
				refused(t, err, ordering.ErrNoGreaterRev)
				reader = connect(t)
				kv = ordering.NewKV(reader.KV, ordering.NewOrderViolationSwitchEndpointClosure(reader))
				continue
			}
			if got.Header.Revision < last {
				t.Fatalf("revision %d after %d", got.Header.Revision, last)
			}
			last = got.Header.Revision
		}
	})
	t.Run("orders transactions and goes on when a member crashes", func(t *testing.T) {
		key := scope(t, client) + "k"
		reader := connect(t)
		kv := ordering.NewKV(reader.KV, ordering.NewOrderViolationSwitchEndpointClosure(reader))
		kill(t, leader(t, client))
		var last int64
		for number := range 20 {
			put(t, client, key, strconv.Itoa(number))
			done, err := kv.Txn(limited(t)).Then(clientv3.OpGet(key)).Commit()
			must(t, err)
			want(t, string(done.Responses[0].GetResponseRange().Kvs[0].Value), strconv.Itoa(number))
			want(t, done.Header.Revision > last, true)
			last = done.Header.Revision
		}
	})
}

func TestMirror(t *testing.T) {
	client := connect(t)
	for name, crash := range map[string]bool{"copies a base and its updates": false, "copies while the leader crashes": true} {
		t.Run(name, func(t *testing.T) {
			prefix, ctx := scope(t, client), limited(t)
			for batch := range 25 {
				var puts []clientv3.Op
				for number := range 100 {
					puts = append(puts, clientv3.OpPut(fmt.Sprintf("%sk%04d", prefix, batch*100+number), strconv.Itoa(batch)))
				}
				_, err := client.Txn(ctx).Then(puts...).Commit()
				must(t, err)
			}
			syncer := mirror.NewSyncer(client, prefix, 0)
			copied := map[string]string{}
			base, failed := syncer.SyncBase(ctx)
			for got := range base {
				for _, kv := range got.Kvs {
					copied[string(kv.Key)] = string(kv.Value)
				}
			}
			must(t, <-failed)
			want(t, len(copied), 2500)
			updates := syncer.SyncUpdates(ctx)
			if crash {
				kill(t, leader(t, client))
			}
			for number := range 20 {
				put(t, client, fmt.Sprintf("%sk%04d", prefix, number), "updated")
			}
			_, err := client.Delete(ctx, prefix+"k1000", clientv3.WithRange(prefix+"k2000"))
			must(t, err)
			put(t, client, prefix+"last", "")
			for ended := false; !ended; {
				seen := <-updates
				must(t, seen.Err())
				for _, event := range seen.Events {
					if event.Type == mvccpb.Event_DELETE {
						delete(copied, string(event.Kv.Key))
					} else {
						copied[string(event.Kv.Key)] = string(event.Kv.Value)
						ended = string(event.Kv.Key) == prefix+"last"
					}
				}
			}
			got, err := client.Get(ctx, prefix, clientv3.WithPrefix())
			must(t, err)
			want(t, len(copied), len(got.Kvs))
			for _, kv := range got.Kvs {
				want(t, copied[string(kv.Key)], string(kv.Value))
			}
		})
	}
}

func TestNamespace(t *testing.T) {
	client := connect(t)
	t.Run("holds keys below its prefix", func(t *testing.T) {
		prefix := scope(t, client)
		kv := namespace.NewKV(client.KV, prefix)
		put(t, client, prefix, "at the prefix itself")
		put(t, kv, "a", "1")
		put(t, kv, "b", "2")
		want(t, value(t, client, prefix+"a"), "1")
		got, err := kv.Get(limited(t), "a", clientv3.WithFromKey())
		must(t, err)
		want(t, len(got.Kvs), 2)
		want(t, string(got.Kvs[1].Key), "b")
		done, err := kv.Txn(limited(t)).If(clientv3.Compare(clientv3.Value("a"), "=", "1")).
			Then(clientv3.OpPut("c", "3"), clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpGet("b")}, nil)).Commit()
		must(t, err)
		want(t, done.Succeeded, true)
		nested := done.Responses[1].GetResponseTxn().Responses[0].GetResponseRange()
		want(t, string(nested.Kvs[0].Key), "b")
		gone, err := kv.Delete(limited(t), "", clientv3.WithPrefix(), clientv3.WithPrevKV())
		must(t, err)
		// The client asks for all keys from "\x00" on, so the key at the prefix itself stays.
		want(t, gone.Deleted, 3)
		want(t, string(gone.PrevKvs[2].Key), "c")
		want(t, value(t, client, prefix), "at the prefix itself")
	})
	t.Run("watches and leases below its prefix", func(t *testing.T) {
		prefix := scope(t, client)
		watcher := namespace.NewWatcher(client.Watcher, prefix)
		lease := namespace.NewLease(client.Lease, prefix)
		seen := watcher.Watch(limited(t), "a", clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithCreatedNotify())
		want(t, (<-seen).Created, true)
		granted, err := lease.Grant(limited(t), 60)
		must(t, err)
		put(t, client, prefix+"a", "1", clientv3.WithLease(granted.ID))
		want(t, string((<-seen).Events[0].Kv.Key), "a")
		held, err := lease.TimeToLive(limited(t), granted.ID, clientv3.WithAttachedKeys())
		must(t, err)
		want(t, string(held.Keys[0]), "a")
		_, err = lease.Revoke(limited(t), granted.ID)
		must(t, err)
		event := (<-seen).Events[0]
		want(t, event.Type, mvccpb.Event_DELETE)
		want(t, string(event.PrevKv.Key), "a")
	})
	t.Run("holds a mutex and an election", func(t *testing.T) {
		prefix := scope(t, client)
		inner := connect(t)
		inner.KV = namespace.NewKV(inner.KV, prefix)
		inner.Watcher = namespace.NewWatcher(inner.Watcher, prefix)
		inner.Lease = namespace.NewLease(inner.Lease, prefix)
		held := session(t, inner)
		mutex, election := concurrency.NewMutex(held, "mutex"), concurrency.NewElection(held, "election")
		must(t, mutex.Lock(limited(t)))
		must(t, election.Campaign(limited(t), "me"))
		want(t, value(t, client, prefix+election.Key()), "me")
		want(t, strings.HasPrefix(mutex.Key(), "mutex/"), true)
		must(t, mutex.Unlock(limited(t)))
		must(t, election.Resign(limited(t)))
	})
}

func TestUtil(t *testing.T) {
	client := connect(t)
	t.Run("lets one of ten create a key", func(t *testing.T) {
		key := scope(t, client)
		var all sync.WaitGroup
		created := make(chan bool, 10)
		for number := range 10 {
			all.Go(func() {
				done, err := client.Txn(limited(t)).If(clientv3util.KeyMissing(key)).
					Then(clientv3.OpPut(key, strconv.Itoa(number))).Commit()
				created <- err == nil && done.Succeeded
			})
		}
		all.Wait()
		count := 0
		for range 10 {
			if <-created {
				count++
			}
		}
		want(t, count, 1)
		done, err := client.Txn(limited(t)).If(clientv3util.KeyExists(key)).Then(clientv3.OpDelete(key)).Commit()
		must(t, err)
		want(t, done.Responses[0].GetResponseDeleteRange().Deleted, 1)
	})
}

func TestKubernetes(t *testing.T) {
	client := connect(t)
	kube := &kubernetes.Client{Client: client}
	kube.Kubernetes = kube
	t.Run("puts and deletes what has not changed", func(t *testing.T) {
		key, ctx := scope(t, client)+"a", limited(t)
		made, err := kube.OptimisticPut(ctx, key, []byte("1"), 0, kubernetes.PutOptions{})
		must(t, err)
		want(t, made.Succeeded, true)
		late, err := kube.OptimisticPut(ctx, key, []byte("2"), 0, kubernetes.PutOptions{GetOnFailure: true})
		must(t, err)
		want(t, late.Succeeded, false)
		want(t, late.KV.ModRevision, made.Revision)
		changed, err := kube.OptimisticPut(ctx, key, []byte("2"), made.Revision, kubernetes.PutOptions{})
		must(t, err)
		kept, err := kube.OptimisticDelete(ctx, key, made.Revision, kubernetes.DeleteOptions{GetOnFailure: true})
		must(t, err)
		want(t, kept.Succeeded, false)
		want(t, string(kept.KV.Value), "2")
		old, err := kube.Get(ctx, key, kubernetes.GetOptions{Revision: made.Revision})
		must(t, err)
		want(t, string(old.KV.Value), "1")
		gone, err := kube.OptimisticDelete(ctx, key, changed.Revision, kubernetes.DeleteOptions{})
		must(t, err)
		want(t, gone.Succeeded, true)
	})
	t.Run("lists pages of one revision", func(t *testing.T) {
		prefix, ctx := scope(t, client), limited(t)
		for number := range 10 {
			put(t, client, prefix+strconv.Itoa(number), "")
		}
		first, err := kube.List(ctx, prefix, kubernetes.ListOptions{Limit: 4})
		must(t, err)
		want(t, first.Count, 10)
		put(t, client, prefix+"5x", "later")
		next := string(first.Kvs[3].Key) + "\x00"
		rest, err := kube.List(ctx, prefix, kubernetes.ListOptions{Revision: first.Revision, Continue: next})
		must(t, err)
		want(t, len(rest.Kvs), 6)
		count, err := kube.Count(ctx, prefix, kubernetes.CountOptions{})
		must(t, err)
		want(t, count, 11)
	})
}
