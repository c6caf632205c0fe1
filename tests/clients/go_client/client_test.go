package client

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestKV(t *testing.T) {
	client := connect(t)
	t.Run("streams the same keys as it gets", func(t *testing.T) {
		prefix, ctx := scope(t, client), limited(t)
		for number := range 300 {
			put(t, client, fmt.Sprintf("%s%03d", prefix, number), strings.Repeat("v", 1+number*17))
		}
		for _, options := range [][]clientv3.OpOption{
			{}, {clientv3.WithLimit(7)}, {clientv3.WithKeysOnly()}, {clientv3.WithSerializable()}, {clientv3.WithCountOnly()},
		} {
			options = append(options, clientv3.WithPrefix())
			got, err := client.Get(ctx, prefix, options...)
			must(t, err)
			stream, err := client.GetStream(ctx, prefix, options...)
			must(t, err)
			streamed, err := clientv3.GetStreamToGetResponse(stream)
			must(t, err)
			want(t, len(streamed.Kvs), len(got.Kvs))
			want(t, streamed.Count, got.Count)
			want(t, streamed.More, got.More)
			for index, kv := range got.Kvs {
				want(t, streamed.Kvs[index].String(), kv.String())
			}
		}
	})
	t.Run("sorts, limits and filters", func(t *testing.T) {
		prefix, ctx := scope(t, client), limited(t)
		var revisions []int64
		for _, name := range []string{"c", "a", "b", "a"} {
			revisions = append(revisions, put(t, client, prefix+name, strconv.Itoa(len(revisions))))
		}
		for text, options := range map[string][]clientv3.OpOption{
			"abc": {}, "cba": {clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend)},
			"cab": {clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend)},
			"abC": {clientv3.WithSort(clientv3.SortByVersion, clientv3.SortDescend), clientv3.WithLimit(1)},
			"ba":  {clientv3.WithMinModRev(revisions[2]), clientv3.WithSort(clientv3.SortByModRevision, clientv3.SortAscend)},
			"c":   {clientv3.WithMaxCreateRev(revisions[0])},
			"ca":  {clientv3.WithRev(revisions[1]), clientv3.WithSort(clientv3.SortByValue, clientv3.SortAscend)},
			"b":   {clientv3.WithMinCreateRev(revisions[2])},
		} {
			got, err := client.Get(ctx, prefix, append(options, clientv3.WithPrefix())...)
			must(t, err)
			found := ""
			for _, kv := range got.Kvs {
				found += strings.TrimPrefix(string(kv.Key), prefix)
			}
			if text == "abC" {
				text = "a"
			}
			want(t, found, text)
		}
	})
	t.Run("refuses with the errors of the API", func(t *testing.T) {
		prefix, ctx := scope(t, client), limited(t)
		_, err := client.Put(ctx, "", "")
		refused(t, err, rpctypes.ErrEmptyKey)
		_, err = client.Put(ctx, prefix+"no", "", clientv3.WithIgnoreValue())
		refused(t, err, rpctypes.ErrKeyNotFound)
		_, err = client.Put(ctx, prefix+"no", "", clientv3.WithLease(12345))
		refused(t, err, rpctypes.ErrLeaseNotFound)
		_, err = client.Put(ctx, prefix+"no", strings.Repeat("v", 1700000))
		refused(t, err, rpctypes.ErrRequestTooLarge)
		_, err = client.Get(ctx, prefix, clientv3.WithRev(1<<40))
		refused(t, err, rpctypes.ErrFutureRev)
		same := clientv3.OpPut(prefix, "")
		_, err = client.Txn(ctx).Then(same, same).Commit()
		refused(t, err, rpctypes.ErrDuplicateKey)
		var many []clientv3.Op
		for number := range 129 {
			many = append(many, clientv3.OpPut(prefix+strconv.Itoa(number), ""))
		}
		_, err = client.Txn(ctx).Then(many...).Commit()
		refused(t, err, rpctypes.ErrTooManyOps)
		revision := put(t, client, prefix, "")
		put(t, client, prefix, "")
		_, err = client.Compact(ctx, revision+1, clientv3.WithCompactPhysical())
		must(t, err)
		_, err = client.Get(ctx, prefix, clientv3.WithRev(revision))
		refused(t, err, rpctypes.ErrCompacted)
		_, err = client.Compact(ctx, revision)
		refused(t, err, rpctypes.ErrCompacted)
		_, err = client.Compact(ctx, 1<<40)
		refused(t, err, rpctypes.ErrFutureRev)
	})
	t.Run("keeps value or lease when told to", func(t *testing.T) {
		key, ctx := scope(t, client), limited(t)
		granted, err := client.Grant(ctx, 60)
		must(t, err)
		put(t, client, key, "1", clientv3.WithLease(granted.ID))
		put(t, client, key, "2", clientv3.WithIgnoreLease())
		done, err := client.Put(ctx, key, "", clientv3.WithIgnoreValue(), clientv3.WithPrevKV())
		must(t, err)
		want(t, done.PrevKv.Lease, int64(granted.ID))
		want(t, value(t, client, key), "2")
		_, err = client.Revoke(ctx, granted.ID)
		must(t, err)
		want(t, value(t, client, key), "2")
	})
}

// next returns the first event of the next response.
func next(t *testing.T, watched clientv3.WatchChan) *clientv3.Event {
	t.Helper()
	for seen := range watched {
		must(t, seen.Err())
		if len(seen.Events) > 0 {
			return seen.Events[0]
		}
	}
	t.Fatal("watch ended")
	return nil
}

func TestWatch(t *testing.T) {
	client := connect(t)
	t.Run("gets long revisions in fragments", func(t *testing.T) {
		prefix, ctx := scope(t, client), limited(t)
		first := put(t, client, prefix+"0", "")
		// Ten large keys that one revision deletes make an event of ten megabytes.
		for number := range 10 {
			put(t, client, prefix+strconv.Itoa(number), strings.Repeat(strconv.Itoa(number), 1000000))
		}
		_, err := client.Delete(ctx, prefix, clientv3.WithPrefix())
		must(t, err)
		watched := client.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithRev(first), clientv3.WithFragment())
		events, deleted := 0, 0
		for deleted < 10 {
			seen := <-watched
			must(t, seen.Err())
			for _, event := range seen.Events {
				events++
				if event.Type == mvccpb.Event_DELETE {
					deleted++
					want(t, len(event.PrevKv.Value), 1000000)
				}
			}
		}
		want(t, events, 21)
	})
	t.Run("is told of progress", func(t *testing.T) {
		prefix, ctx := scope(t, client), limited(t)
		notified := client.Watch(ctx, prefix, clientv3.WithProgressNotify(), clientv3.WithCreatedNotify())
		want(t, (<-notified).Created, true)
		revision := put(t, client, prefix+"elsewhere", "")
		for {
			seen := <-notified
			must(t, seen.Err())
			want(t, seen.IsProgressNotify(), true)
			if seen.Header.Revision >= revision {
				break
			}
		}
		revision = put(t, client, prefix+"elsewhere", "")
		eventually(t, "progress requested", func() bool {
			must(t, client.RequestProgress(ctx))
			seen := <-notified
			return seen.IsProgressNotify() && seen.Header.Revision >= revision
		})
	})
	t.Run("filters, and shows what was before", func(t *testing.T) {
		key, ctx := scope(t, client), limited(t)
		first := put(t, client, key, "1")
		_, err := client.Delete(ctx, key)
		must(t, err)
		puts := client.Watch(ctx, key, clientv3.WithRev(first), clientv3.WithFilterDelete())
		deletes := client.Watch(ctx, key, clientv3.WithRev(first), clientv3.WithFilterPut(), clientv3.WithPrevKV())
		want(t, string(next(t, puts).Kv.Value), "1")
		want(t, string(next(t, deletes).PrevKv.Value), "1")
	})
	t.Run("is cancelled at a compacted revision", func(t *testing.T) {
		key, ctx := scope(t, client), limited(t)
		first := put(t, client, key, "1")
		second := put(t, client, key, "2")
		_, err := client.Compact(ctx, second)
		must(t, err)
		// A member that lags has not compacted yet.
		eventually(t, "compacted on each member", func() bool {
			watching, stop := context.WithCancel(ctx)
			defer stop()
			seen := <-client.Watch(watching, key, clientv3.WithRev(first))
			return seen.Err() == rpctypes.ErrCompacted && seen.CompactRevision == second
		})
	})
	t.Run("loses and repeats nothing while each member crashes", func(t *testing.T) {
		prefix, ctx := scope(t, client), limited(t)
		watched := client.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCreatedNotify())
		want(t, (<-watched).Created, true)
		seen := make(chan string, 1)
		go func() {
			text := ""
			for !strings.HasSuffix(text, "end") {
				got := <-watched
				for _, event := range got.Events {
					text += " " + string(event.Kv.Value)
				}
			}
			seen <- text
		}()
		written := ""
		for index := range endpoints {
			control(t, "kill", index)
			for number := range 10 {
				text := fmt.Sprintf("%d.%d", index, number)
				// A put may be done twice when its answer is lost, so it is done only if absent.
				must(t, again(ctx, func() error {
					_, err := client.Txn(ctx).If(clientv3.Compare(clientv3.Version(prefix+text), "=", 0)).
						Then(clientv3.OpPut(prefix+text, text)).Commit()
					return err
				}))
				written += " " + text
			}
			control(t, "start", index)
		}
		put(t, client, prefix, "end")
		want(t, <-seen, written+" end")
	})
	t.Run("that requires a leader ends without one", func(t *testing.T) {
		survivor := connect(t, endpoints[0])
		watched := survivor.Watch(clientv3.WithRequireLeader(limited(t)), "k", clientv3.WithCreatedNotify())
		want(t, (<-watched).Created, true)
		kill(t, 1)
		kill(t, 2)
		seen := <-watched
		refused(t, seen.Err(), rpctypes.ErrNoLeader)
	})
}

func TestLease(t *testing.T) {
	client := connect(t)
	t.Run("is granted, listed, kept alive and revoked", func(t *testing.T) {
		key, ctx := scope(t, client), limited(t)
		granted, err := client.Grant(ctx, 60)
		must(t, err)
		put(t, client, key, "", clientv3.WithLease(granted.ID))
		kept, err := client.KeepAliveOnce(ctx, granted.ID)
		must(t, err)
		want(t, kept.TTL, 60)
		found, err := client.TimeToLive(ctx, granted.ID, clientv3.WithAttachedKeys())
		must(t, err)
		want(t, found.GrantedTTL, 60)
		want(t, string(found.Keys[0]), key)
		listed, err := client.Leases(ctx)
		must(t, err)
		among := false
		for _, each := range listed.Leases {
			among = among || each.ID == granted.ID
		}
		want(t, among, true)
		_, err = client.Revoke(ctx, granted.ID)
		must(t, err)
		_, err = client.Revoke(ctx, granted.ID)
		refused(t, err, rpctypes.ErrLeaseNotFound)
		_, err = client.KeepAliveOnce(ctx, granted.ID)
		refused(t, err, rpctypes.ErrLeaseNotFound)
		want(t, value(t, client, key), "absent")
	})
	t.Run("ends its keep-alive when it is gone", func(t *testing.T) {
		granted, err := client.Grant(limited(t), 2)
		must(t, err)
		alive, err := client.KeepAlive(limited(t), granted.ID)
		must(t, err)
		<-alive
		_, err = client.Revoke(limited(t), granted.ID)
		must(t, err)
		for range alive {
		}
	})
	t.Run("is refused out of range", func(t *testing.T) {
		_, err := client.Grant(limited(t), 1<<40)
		refused(t, err, rpctypes.ErrLeaseTTLTooLarge)
	})
	t.Run("is not expired early by a new leader", func(t *testing.T) {
		key, ctx := scope(t, client), limited(t)
		granted, err := client.Grant(ctx, 10)
		must(t, err)
		put(t, client, key, "", clientv3.WithLease(granted.ID))
		start := time.Now()
		kill(t, leader(t, client))
		eventually(t, "expired", func() bool { return value(t, client, key) == "absent" })
		want(t, time.Since(start) > 9*time.Second, true)
	})
}

func TestEndpoints(t *testing.T) {
	client := connect(t)
	t.Run("are read from the members", func(t *testing.T) {
		one := connect(t, endpoints[1])
		must(t, one.Sync(limited(t)))
		want(t, len(one.Endpoints()), len(endpoints))
		synced := open(t, clientv3.Config{Endpoints: endpoints[:1], AutoSyncInterval: 100 * time.Millisecond})
		eventually(t, "synced", func() bool { return len(synced.Endpoints()) == len(endpoints) })
	})
	t.Run("are switched by hand and around dead ones", func(t *testing.T) {
		key := scope(t, client)
		one := connect(t, "127.0.0.1:1", endpoints[0])
		put(t, one, key, "1")
		one.SetEndpoints(endpoints[2])
		kill(t, 0)
		want(t, value(t, one, key), "1")
	})
	t.Run("that crash take no acknowledged write along", func(t *testing.T) {
		prefix := scope(t, client)
		var all sync.WaitGroup
		acknowledged := make(chan string, 10000)
		ctx, stop := context.WithCancel(limited(t))
		for writer := range 4 {
			all.Go(func() {
				for number := 0; ctx.Err() == nil; number++ {
					key := fmt.Sprintf("%s%d.%d", prefix, writer, number)
					attempt, cancel := context.WithTimeout(ctx, 2*time.Second)
					if _, err := client.Put(attempt, key, key); err == nil {
						acknowledged <- key
					}
					cancel()
					time.Sleep(5 * time.Millisecond)
				}
			})
		}
		for range 2 {
			index := leader(t, client)
			control(t, "kill", index)
			before := len(acknowledged)
			eventually(t, "written without it", func() bool { return len(acknowledged) > before+20 })
			control(t, "start", index)
		}
		stop()
		all.Wait()
		close(acknowledged)
		got, err := client.Get(limited(t), prefix, clientv3.WithPrefix())
		must(t, err)
		found := map[string]string{}
		for _, kv := range got.Kvs {
			found[string(kv.Key)] = string(kv.Value)
		}
		for key := range acknowledged {
			want(t, found[key], key)
		}
	})
	t.Run("older than asked for are refused only when they are", func(t *testing.T) {
		client := open(t, clientv3.Config{Endpoints: endpoints, RejectOldCluster: true})
		want(t, value(t, client, "no"), "absent")
	})
}

func TestMaintenance(t *testing.T) {
	client := connect(t)
	ctx := limited(t)
	t.Run("shows the state of each member", func(t *testing.T) {
		leaders := map[uint64]bool{}
		for _, endpoint := range endpoints {
			status, err := client.Status(ctx, endpoint)
			must(t, err)
			want(t, status.DbSize > 0 && status.RaftIndex > 0 && status.RaftAppliedIndex > 0, true)
			want(t, status.IsLearner, false)
			want(t, len(status.Errors), 0)
			leaders[status.Leader] = true
		}
		want(t, len(leaders), 1)
	})
	t.Run("hashes the same on each member", func(t *testing.T) {
		revision := put(t, client, scope(t, client), "")
		hashes := map[uint32]bool{}
		for _, endpoint := range endpoints {
			eventually(t, "the revision", func() bool {
				found, err := client.HashKV(ctx, endpoint, revision)
				if err == nil {
					hashes[found.Hash] = true
				}
				return err == nil
			})
		}
		want(t, len(hashes), 1)
	})
	t.Run("defragments and lists alarms", func(t *testing.T) {
		for _, endpoint := range endpoints {
			_, err := client.Defragment(ctx, endpoint)
			must(t, err)
		}
		alarms, err := client.AlarmList(ctx)
		must(t, err)
		want(t, len(alarms.Alarms), 0)
		_, err = client.AlarmDisarm(ctx, &clientv3.AlarmMember{})
		must(t, err)
	})
	t.Run("moves the leader", func(t *testing.T) {
		index := leader(t, client)
		status, err := client.Status(ctx, endpoints[(index+1)%len(endpoints)])
		must(t, err)
		follower := connect(t, endpoints[(index+1)%len(endpoints)])
		_, err = follower.MoveLeader(ctx, status.Header.MemberId)
		refused(t, err, rpctypes.ErrNotLeader)
		present := connect(t, endpoints[index])
		_, err = present.MoveLeader(ctx, 12345)
		refused(t, err, rpctypes.ErrBadLeaderTransferee)
		_, err = present.MoveLeader(ctx, status.Header.MemberId)
		must(t, err)
		want(t, leader(t, client), (index+1)%len(endpoints))
	})
}

// settled repeats what members refuse until each has been connected to the others for five seconds.
func settled(change func() error) error {
	for {
		err := change()
		if !errors.Is(err, rpctypes.ErrUnhealthy) {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func TestCluster(t *testing.T) {
	client := connect(t)
	ctx := limited(t)
	t.Run("adds a learner, updates and removes it", func(t *testing.T) {
		var added *clientv3.MemberAddResponse
		must(t, settled(func() (err error) {
			added, err = client.MemberAddAsLearner(ctx, []string{"http://127.0.0.1:1"})
			return err
		}))
		want(t, added.Member.IsLearner, true)
		refused(t, settled(func() error {
			_, err := client.MemberAddAsLearner(ctx, []string{"http://127.0.0.1:2"})
			return err
		}), rpctypes.ErrTooManyLearners)
		present, err := client.MemberList(ctx)
		must(t, err)
		refused(t, settled(func() error {
			_, err := client.MemberAdd(ctx, present.Members[0].PeerURLs)
			return err
		}), rpctypes.ErrPeerURLExist)
		_, err = client.MemberPromote(ctx, added.Member.ID)
		refused(t, err, rpctypes.ErrMemberLearnerNotReady)
		_, err = client.MemberUpdate(ctx, added.Member.ID, []string{"http://127.0.0.1:3"})
		must(t, err)
		listed, err := client.MemberList(ctx)
		must(t, err)
		want(t, len(listed.Members), len(endpoints)+1)
		_, err = client.MemberRemove(ctx, added.Member.ID)
		must(t, err)
		_, err = client.MemberRemove(ctx, added.Member.ID)
		refused(t, err, rpctypes.ErrMemberNotFound)
		_, err = client.MemberPromote(ctx, listed.Members[0].ID+1)
		refused(t, err, rpctypes.ErrMemberNotFound)
	})
}

func TestAuth(t *testing.T) {
	client := connect(t)
	ctx := limited(t)
	t.Run("lets users in and renews their tokens", func(t *testing.T) {
		_, err := client.RoleAdd(ctx, "writer")
		must(t, err)
		_, err = client.RoleGrantPermission(ctx, "writer", "app/", "app0", clientv3.PermissionType(clientv3.PermReadWrite))
		must(t, err)
		for user, role := range map[string]string{"root": "root", "app": "writer"} {
			if role == "root" {
				_, err = client.RoleAdd(ctx, role)
				must(t, err)
			}
			_, err = client.UserAdd(ctx, user, user)
			must(t, err)
			_, err = client.UserGrantRole(ctx, user, role)
			must(t, err)
		}
		_, err = client.AuthEnable(ctx)
		must(t, err)
		root := open(t, clientv3.Config{Endpoints: endpoints, Username: "root", Password: "root"})
		t.Cleanup(func() {
			_, err := root.AuthDisable(context.Background())
			must(t, err)
			for _, user := range []string{"root", "app"} {
				_, err = client.UserDelete(context.Background(), user)
				must(t, err)
			}
			for _, role := range []string{"root", "writer"} {
				_, err = client.RoleDelete(context.Background(), role)
				must(t, err)
			}
		})
		status, err := root.AuthStatus(ctx)
		must(t, err)
		want(t, status.Enabled, true)
		app := open(t, clientv3.Config{Endpoints: endpoints, Username: "app", Password: "app"})
		put(t, app, "app/1", "v")
		_, err = app.Put(ctx, "other", "v")
		refused(t, err, rpctypes.ErrPermissionDenied)
		_, err = client.Put(ctx, "app/1", "v")
		refused(t, err, rpctypes.ErrUserEmpty)
		// A revision of the user makes its tokens void: the client logs in anew by itself.
		_, err = root.UserDelete(ctx, "app")
		must(t, err)
		_, err = root.UserAdd(ctx, "app", "app")
		must(t, err)
		_, err = root.UserGrantRole(ctx, "app", "writer")
		must(t, err)
		put(t, app, "app/1", "again")
		// The tokens of the flag --auth-token-ttl of one second are void after two.
		time.Sleep(3 * time.Second)
		put(t, app, "app/1", "later")
		// Tokens are in the memory of a member: they are void where it starts anew. (A watch whose
		// token is void ends: the client logs in anew for other calls alone.)
		granted, err := app.Grant(ctx, 10)
		must(t, err)
		alive, err := app.KeepAlive(ctx, granted.ID)
		must(t, err)
		<-alive
		for index := range endpoints {
			control(t, "kill", index)
			control(t, "start", index)
		}
		must(t, again(ctx, func() error {
			_, err := app.Put(ctx, "app/2", "restarted", clientv3.WithLease(granted.ID))
			return err
		}))
		want(t, value(t, app, "app/2"), "restarted")
		must(t, again(ctx, func() error {
			_, err := app.Delete(ctx, "app/", clientv3.WithRange("app0"))
			return err
		}))
	})
}
