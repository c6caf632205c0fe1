package client

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

func session(t *testing.T, client *clientv3.Client, options ...concurrency.SessionOption) *concurrency.Session {
	t.Helper()
	made, err := concurrency.NewSession(client, options...)
	must(t, err)
	t.Cleanup(func() { made.Orphan() })
	return made
}

func remaining(t *testing.T, client *clientv3.Client, lease clientv3.LeaseID) int64 {
	t.Helper()
	found, err := client.TimeToLive(limited(t), lease)
	must(t, err)
	return found.TTL
}

func ended(t *testing.T, channel <-chan struct{}) {
	t.Helper()
	select {
	case <-channel:
	case <-time.After(30 * time.Second):
		t.Fatal("never ended")
	}
}

func TestSession(t *testing.T) {
	client := connect(t)
	t.Run("keeps its lease beyond the time to live", func(t *testing.T) {
		one := session(t, client, concurrency.WithTTL(2))
		start := time.Now()
		eventually(t, "older than its time to live", func() bool {
			if remaining(t, client, one.Lease()) < 0 {
				t.Fatal("expired")
			}
			return time.Since(start) > 4*time.Second
		})
	})
	t.Run("takes its lease along when it closes", func(t *testing.T) {
		one := session(t, client)
		must(t, one.Close())
		ended(t, one.Done())
		want(t, remaining(t, client, one.Lease()), -1)
	})
	t.Run("leaves its lease to expire when orphaned", func(t *testing.T) {
		prefix, one := scope(t, client), session(t, client, concurrency.WithTTL(2))
		put(t, client, prefix, "", clientv3.WithLease(one.Lease()))
		one.Orphan()
		eventually(t, "key gone", func() bool { return value(t, client, prefix) == "absent" })
		want(t, remaining(t, client, one.Lease()), -1)
	})
	t.Run("ends when its lease is revoked", func(t *testing.T) {
		one := session(t, client, concurrency.WithTTL(3))
		_, err := client.Revoke(limited(t), one.Lease())
		must(t, err)
		ended(t, one.Done())
		refused(t, one.Ctx().Err(), context.Canceled)
	})
	t.Run("takes over a lease that exists", func(t *testing.T) {
		granted, err := client.Grant(limited(t), 60)
		must(t, err)
		one := session(t, client, concurrency.WithLease(granted.ID))
		want(t, one.Lease(), granted.ID)
		must(t, one.Close())
	})
	t.Run("survives the crash of each member in turn", func(t *testing.T) {
		prefix, one := scope(t, client), session(t, client, concurrency.WithTTL(8))
		put(t, client, prefix, "held", clientv3.WithLease(one.Lease()))
		for index := range endpoints {
			control(t, "kill", index)
			want(t, value(t, client, prefix), "held")
			control(t, "start", index)
		}
		select {
		case <-one.Done():
			t.Fatal("session ended")
		default:
		}
		want(t, value(t, client, prefix), "held")
	})
}

// counts has ten sessions each add to a counter under the mutex.
func counts(t *testing.T, client *clientv3.Client, each int, meanwhile func()) {
	prefix := scope(t, client)
	put(t, client, prefix+"counter", "0")
	ctx, errs := limited(t), make(chan error, 10)
	for range 10 {
		own := session(t, client, concurrency.WithTTL(30))
		go func() {
			var err error
			for left := each; left > 0 && err == nil; left-- {
				err = addUnderMutex(ctx, concurrency.NewMutex(own, prefix+"mutex"), client, prefix+"counter")
			}
			errs <- err
		}()
	}
	meanwhile()
	for range 10 {
		must(t, <-errs)
	}
	want(t, value(t, client, prefix+"counter"), strconv.Itoa(10*each))
}

func addUnderMutex(ctx context.Context, mutex *concurrency.Mutex, client *clientv3.Client, key string) error {
	if err := again(ctx, func() error { return mutex.Lock(ctx) }); err != nil {
		return err
	}
	got, err := client.Get(ctx, key)
	if err != nil {
		return err
	}
	number, _ := strconv.Atoi(string(got.Kvs[0].Value))
	err = again(ctx, func() error {
		// Writing the same value twice changes nothing, and a late attempt finds another owner.
		put := clientv3.OpPut(key, strconv.Itoa(number+1))
		done, err := client.Txn(ctx).If(mutex.IsOwner()).Then(put).Commit()
		if err == nil && !done.Succeeded {
			panic("two holders")
		}
		return err
	})
	if err != nil {
		return err
	}
	return again(ctx, func() error {
		_, err := client.Delete(ctx, mutex.Key())
		return err
	})
}

// again repeats a call until it is acknowledged, for calls without effect when done twice.
func again(ctx context.Context, call func() error) error {
	for {
		err := call()
		if err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestMutex(t *testing.T) {
	client := connect(t)
	t.Run("lets ten holders take turns", func(t *testing.T) { counts(t, client, 5, func() {}) })
	t.Run("is refused to TryLock while held", func(t *testing.T) {
		prefix := scope(t, client)
		one, other := concurrency.NewMutex(session(t, client), prefix), concurrency.NewMutex(session(t, client), prefix)
		must(t, one.TryLock(limited(t)))
		refused(t, other.TryLock(limited(t)), concurrency.ErrLocked)
		must(t, one.Unlock(limited(t)))
		must(t, other.TryLock(limited(t)))
		must(t, other.Unlock(limited(t)))
		refused(t, other.Unlock(limited(t)), concurrency.ErrLockReleased)
	})
	t.Run("is left without a trace by a waiter that gives up", func(t *testing.T) {
		prefix := scope(t, client)
		one, other := concurrency.NewMutex(session(t, client), prefix), concurrency.NewMutex(session(t, client), prefix)
		must(t, one.Lock(limited(t)))
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		refused(t, other.Lock(ctx), context.DeadlineExceeded)
		got, err := client.Get(limited(t), prefix, clientv3.WithPrefix())
		must(t, err)
		want(t, len(got.Kvs), 1)
	})
	t.Run("guards a transaction by its owner", func(t *testing.T) {
		prefix := scope(t, client)
		one := concurrency.NewMutex(session(t, client), prefix)
		must(t, one.Lock(limited(t)))
		owned := func() bool {
			done, err := client.Txn(limited(t)).If(one.IsOwner()).Then(clientv3.OpPut(prefix+"v", "")).Commit()
			must(t, err)
			return done.Succeeded
		}
		want(t, owned(), true)
		must(t, one.Unlock(limited(t)))
		want(t, owned(), false)
	})
	t.Run("passes on when the session of its holder is revoked", func(t *testing.T) {
		prefix, holder := scope(t, client), session(t, client)
		must(t, concurrency.NewMutex(holder, prefix).Lock(limited(t)))
		other, locked := concurrency.NewMutex(session(t, client), prefix), make(chan error)
		ctx := limited(t)
		go func() { locked <- other.Lock(ctx) }()
		eventually(t, "a waiter", func() bool {
			got, err := client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
			must(t, err)
			return got.Count == 2
		})
		must(t, holder.Close())
		must(t, <-locked)
	})
	t.Run("is not held by a session that has expired", func(t *testing.T) {
		prefix, holder := scope(t, client), session(t, client)
		one := concurrency.NewMutex(holder, prefix)
		must(t, holder.Close())
		refused(t, one.Lock(limited(t)), rpctypes.ErrLeaseNotFound)
	})
	t.Run("is a sync.Locker", func(t *testing.T) {
		one := concurrency.NewLocker(session(t, client), scope(t, client))
		one.Lock()
		one.Unlock()
	})
	t.Run("lets ten holders take turns while the leader crashes", func(t *testing.T) {
		counts(t, client, 5, func() { kill(t, leader(t, client)) })
	})
}

func TestElection(t *testing.T) {
	client := connect(t)
	t.Run("elects candidates in the order they came", func(t *testing.T) {
		prefix, ctx := scope(t, client), limited(t)
		first := concurrency.NewElection(session(t, client), prefix)
		must(t, first.Campaign(ctx, "0"))
		turns := make(chan int, 3)
		for number := 1; number <= 3; number++ {
			candidate := concurrency.NewElection(session(t, client), prefix)
			go func() {
				if candidate.Campaign(ctx, strconv.Itoa(number)) == nil {
					turns <- number
					_ = candidate.Resign(ctx)
				}
			}()
			eventually(t, "a candidate", func() bool {
				got, err := client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
				must(t, err)
				return got.Count == int64(number)+1
			})
		}
		must(t, first.Resign(ctx))
		for number := 1; number <= 3; number++ {
			want(t, <-turns, number)
		}
	})
	t.Run("shows what its leader proclaims", func(t *testing.T) {
		prefix, ctx := scope(t, client), limited(t)
		one := concurrency.NewElection(session(t, client), prefix)
		_, err := one.Leader(ctx)
		refused(t, err, concurrency.ErrElectionNoLeader)
		refused(t, one.Proclaim(ctx, ""), concurrency.ErrElectionNotLeader)
		must(t, one.Campaign(ctx, "a"))
		observing, stop := context.WithCancel(ctx)
		seen := one.Observe(observing)
		for _, val := range []string{"a", "b", "c"} {
			if val != "a" {
				must(t, one.Proclaim(ctx, val))
			}
			want(t, string((<-seen).Kvs[0].Value), val)
			found, err := one.Leader(ctx)
			must(t, err)
			want(t, string(found.Kvs[0].Value), val)
		}
		stop()
		for range seen {
		}
		want(t, one.Rev() > 0 && one.Key() != "" && one.Header().Revision > 0, true)
		must(t, one.Resign(ctx))
		refused(t, one.Proclaim(ctx, ""), concurrency.ErrElectionNotLeader)
	})
	t.Run("is resumed under its key", func(t *testing.T) {
		prefix, ctx, held := scope(t, client), limited(t), session(t, client)
		one := concurrency.NewElection(held, prefix)
		must(t, one.Campaign(ctx, "a"))
		again := concurrency.ResumeElection(held, prefix, one.Key(), one.Rev())
		must(t, again.Proclaim(ctx, "b"))
		found, err := one.Leader(ctx)
		must(t, err)
		want(t, string(found.Kvs[0].Value), "b")
		must(t, again.Resign(ctx))
		_, err = one.Leader(ctx)
		refused(t, err, concurrency.ErrElectionNoLeader)
	})
	t.Run("is left without a trace by a candidate that gives up", func(t *testing.T) {
		prefix := scope(t, client)
		one, other := concurrency.NewElection(session(t, client), prefix), concurrency.NewElection(session(t, client), prefix)
		must(t, one.Campaign(limited(t), "a"))
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		refused(t, other.Campaign(ctx, "b"), context.DeadlineExceeded)
		got, err := client.Get(limited(t), prefix, clientv3.WithPrefix())
		must(t, err)
		want(t, len(got.Kvs), 1)
	})
	t.Run("goes on when its leader expires and a member crashes", func(t *testing.T) {
		prefix, ctx := scope(t, client), limited(t)
		held := session(t, client, concurrency.WithTTL(2))
		one, other := concurrency.NewElection(held, prefix), concurrency.NewElection(session(t, client, concurrency.WithTTL(30)), prefix)
		must(t, one.Campaign(ctx, "a"))
		seen := other.Observe(ctx)
		want(t, string((<-seen).Kvs[0].Value), "a")
		elected := make(chan error)
		go func() { elected <- other.Campaign(ctx, "b") }()
		held.Orphan()
		kill(t, leader(t, client))
		must(t, <-elected)
		want(t, string((<-seen).Kvs[0].Value), "b")
	})
}

var isolations = map[string]concurrency.Isolation{
	"serializable snapshot": concurrency.SerializableSnapshot,
	"serializable":          concurrency.Serializable,
	"repeatable reads":      concurrency.RepeatableReads,
	"read committed":        concurrency.ReadCommitted,
}

// adds has ten goroutines each count in transactions; returns how many were acknowledged and failed.
func adds(t *testing.T, client *clientv3.Client, key string, each int, level concurrency.Isolation, meanwhile func()) (int64, int64) {
	var acknowledged, failed atomic.Int64
	var all sync.WaitGroup
	ctx := limited(t)
	for range 10 {
		all.Go(func() {
			for range each {
				_, err := concurrency.NewSTM(client, func(stm concurrency.STM) error {
					number, _ := strconv.Atoi(stm.Get(key))
					stm.Put(key, strconv.Itoa(number+1))
					return nil
				}, concurrency.WithIsolation(level), concurrency.WithAbortContext(ctx))
				if err == nil {
					acknowledged.Add(1)
				} else {
					failed.Add(1)
				}
			}
		})
	}
	meanwhile()
	all.Wait()
	return acknowledged.Load(), failed.Load()
}

func TestSTM(t *testing.T) {
	client := connect(t)
	for name, level := range isolations {
		t.Run("counts under contention with "+name, func(t *testing.T) {
			key := scope(t, client) + "counter"
			acknowledged, failed := adds(t, client, key, 4, level, func() {})
			want(t, failed, 0)
			counted, _ := strconv.ParseInt(value(t, client, key), 10, 64)
			if level == concurrency.ReadCommitted {
				// Without a check of what was read, updates are lost.
				want(t, counted >= 4 && counted <= acknowledged, true)
				return
			}
			want(t, counted, acknowledged)
		})
		t.Run("moves amounts between accounts with "+name, func(t *testing.T) {
			prefix := scope(t, client)
			for account := range 4 {
				put(t, client, prefix+strconv.Itoa(account), "100")
			}
			var all sync.WaitGroup
			errs := make(chan error, 10)
			for mover := range 10 {
				all.Go(func() { errs <- moves(client, prefix, mover, level) })
			}
			all.Wait()
			for range 10 {
				must(t, <-errs)
			}
			got, err := client.Get(limited(t), prefix, clientv3.WithPrefix())
			must(t, err)
			sum := 0
			for _, kv := range got.Kvs {
				amount, _ := strconv.Atoi(string(kv.Value))
				sum += amount
			}
			if level != concurrency.ReadCommitted {
				want(t, sum, 400)
			}
		})
	}
	t.Run("changes nothing when the function fails", func(t *testing.T) {
		key, fault := scope(t, client), errors.New("fault")
		_, err := concurrency.NewSTM(client, func(stm concurrency.STM) error {
			stm.Put(key, "v")
			return fault
		})
		refused(t, err, fault)
		want(t, value(t, client, key), "absent")
	})
	t.Run("ends with its context", func(t *testing.T) {
		key := scope(t, client)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := concurrency.NewSTM(client, func(stm concurrency.STM) error {
			stm.Get(key)
			return nil
		}, concurrency.WithAbortContext(ctx))
		refused(t, err, context.Canceled)
	})
	t.Run("deletes, shows revisions and fetches ahead", func(t *testing.T) {
		prefix := scope(t, client)
		put(t, client, prefix+"a", "1")
		revision := put(t, client, prefix+"b", "2")
		done, err := concurrency.NewSTM(client, func(stm concurrency.STM) error {
			if stm.Get(prefix+"a", prefix+"b") != "1" || stm.Rev(prefix+"b") != revision {
				return fmt.Errorf("revision %d is not %d", stm.Rev(prefix+"b"), revision)
			}
			stm.Del(prefix + "a")
			stm.Put(prefix+"b", "3")
			return nil
		}, concurrency.WithPrefetch(prefix+"a", prefix+"b"))
		must(t, err)
		want(t, done.Header.Revision, revision+1)
		want(t, value(t, client, prefix+"a"), "absent")
		want(t, value(t, client, prefix+"b"), "3")
	})
	t.Run("loses no acknowledged count when the leader crashes", func(t *testing.T) {
		key := scope(t, client) + "counter"
		acknowledged, failed := adds(t, client, key, 10, concurrency.SerializableSnapshot, func() { kill(t, leader(t, client)) })
		counted, _ := strconv.ParseInt(value(t, client, key), 10, 64)
		want(t, counted >= acknowledged && counted <= acknowledged+failed, true)
	})
}

func moves(client *clientv3.Client, prefix string, mover int, level concurrency.Isolation) error {
	for round := range 3 {
		from, to := prefix+strconv.Itoa((mover+round)%4), prefix+strconv.Itoa((mover+round+1+round%3)%4)
		// Serializable reads of a member that lags may be refused as of a future revision.
		_, err := concurrency.NewSTM(client, func(stm concurrency.STM) error {
			one, _ := strconv.Atoi(stm.Get(from))
			other, _ := strconv.Atoi(stm.Get(to))
			stm.Put(from, strconv.Itoa(one-7))
			stm.Put(to, strconv.Itoa(other+7))
			return nil
		}, concurrency.WithIsolation(level))
		if errors.Is(err, rpctypes.ErrFutureRev) {
			return moves(client, prefix, mover, level)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
