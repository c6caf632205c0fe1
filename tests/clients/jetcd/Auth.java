// Users, roles and tokens through jetcd.
import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.Client;
import io.etcd.jetcd.Watch;
import io.etcd.jetcd.auth.Permission;
import io.etcd.jetcd.op.Op;
import io.etcd.jetcd.options.GetOption;
import io.etcd.jetcd.options.PutOption;
import io.etcd.jetcd.options.WatchOption;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

public class Auth {
    interface Test {
        void run() throws Exception;
    }

    static final String TARGET = "http://" + System.getenv("ENDPOINT");

    static ByteSequence bytes(String text) {
        return ByteSequence.from(text, StandardCharsets.UTF_8);
    }

    static Client open(String user, String password) {
        var builder = Client.builder().endpoints(TARGET);
        return user == null ? builder.build() : builder.user(bytes(user)).password(bytes(password)).build();
    }

    static <T> T get(CompletableFuture<T> future) throws Exception {
        return future.get(10, TimeUnit.SECONDS);
    }

    static void check(String text, Test test) {
        try {
            test.run();
            System.out.println("ok " + text);
        } catch (Throwable error) {
            System.out.println("failed " + text + ": " + error);
        }
    }

    static void refused(CompletableFuture<?> future, String text) throws Exception {
        try {
            get(future);
        } catch (java.util.concurrent.ExecutionException error) {
            for (Throwable each = error; each != null; each = each.getCause()) {
                if (String.valueOf(each.getMessage()).contains(text)) {
                    return;
                }
            }
            throw error;
        }
        throw new AssertionError("not refused with " + text);
    }

    static void same(Object found, Object wanted) {
        if (!found.equals(wanted)) {
            throw new AssertionError(found + " is not " + wanted);
        }
    }

    public static void main(String[] arguments) throws Exception {
        Client nobody = open(null, null);
        var plain = nobody.getAuthClient();
        check("roles and users are made and listed", () -> {
            get(plain.roleAdd(bytes("writer")));
            get(plain.roleGrantPermission(bytes("writer"), bytes("app/"), bytes("app0"), Permission.Type.READWRITE));
            get(plain.userAdd(bytes("root"), bytes("r")));
            get(plain.userAdd(bytes("app"), bytes("old")));
            get(plain.userChangePassword(bytes("app"), bytes("a")));
            get(plain.userGrantRole(bytes("root"), bytes("root")));
            get(plain.userGrantRole(bytes("app"), bytes("writer")));
            same(get(plain.userList()).getUsers(), List.of("app", "root"));
            same(get(plain.roleList()).getRoles(), List.of("writer"));
            same(get(plain.userGet(bytes("app"))).getRoles(), List.of("writer"));
            same(get(plain.roleGet(bytes("writer"))).getPermissions().size(), 1);
        });
        check("names that exist or do not are refused", () -> {
            refused(plain.roleAdd(bytes("writer")), "etcdserver: role name already exists");
            refused(plain.roleDelete(bytes("no")), "etcdserver: role name not found");
            refused(plain.userAdd(bytes("app"), bytes("a")), "etcdserver: user name already exists");
            refused(plain.userDelete(bytes("no")), "etcdserver: user name not found");
            refused(plain.userRevokeRole(bytes("app"), bytes("no")), "etcdserver: role is not granted to the user");
        });
        check("authentication is switched on", () -> get(plain.authEnable()));
        Client root = open("root", "r");
        Client app = open("app", "a");
        check("a user writes and reads its range", () -> {
            get(app.getKVClient().put(bytes("app/1"), bytes("v")));
            same(get(app.getKVClient().get(bytes("app/1"))).getCount(), 1L);
        });
        check("a user is kept from other keys", () -> {
            var kv = app.getKVClient();
            String denied = "etcdserver: permission denied";
            refused(kv.put(bytes("other"), bytes("v")), denied);
            refused(kv.get(bytes("other")), denied);
            refused(kv.get(bytes("app/"), GetOption.builder().withRange(bytes("\0")).build()), denied);
            refused(kv.txn().Else(Op.put(bytes("other"), bytes("v"), PutOption.DEFAULT)).commit(), denied);
        });
        check("a wrong password and an unknown user fail alike", () -> {
            for (String[] wrong : new String[][] {{"app", "wrong"}, {"no", "a"}}) {
                try (Client other = open(wrong[0], wrong[1])) {
                    refused(other.getKVClient().get(bytes("app/1")), "etcdserver: authentication failed");
                }
            }
        });
        check("nobody is refused", () ->
            refused(nobody.getKVClient().get(bytes("app/1")), "etcdserver: user name is empty"));
        check("a user watches its range", () -> {
            var seen = new CompletableFuture<String>();
            var created = new CompletableFuture<Void>();
            var option = WatchOption.builder().withRange(bytes("app0")).withCreateNotify(true).build();
            var listener = Watch.listener(response -> {
                created.complete(null);
                response.getEvents().forEach(event -> seen.complete(event.getKeyValue().getValue().toString()));
            });
            try (var watcher = app.getWatchClient().watch(bytes("app/"), option, listener)) {
                get(created);
                get(app.getKVClient().put(bytes("app/2"), bytes("seen")));
                same(get(seen), "seen");
            }
        });
        check("a lease of a user holds its keys", () -> {
            long lease = get(app.getLeaseClient().grant(60)).getID();
            var held = PutOption.builder().withLeaseId(lease).build();
            get(app.getKVClient().put(bytes("app/leased"), bytes("v"), held));
            get(app.getLeaseClient().revoke(lease));
            same(get(app.getKVClient().get(bytes("app/leased"))).getCount(), 0L);
        });
        check("a client with a token that ended logs in again", () -> {
            var auth = root.getAuthClient();
            get(auth.userDelete(bytes("app")));
            get(auth.userAdd(bytes("app"), bytes("a")));
            get(auth.userGrantRole(bytes("app"), bytes("writer")));
            get(app.getKVClient().put(bytes("app/1"), bytes("again")));
        });
        check("a permission taken away counts at once", () -> {
            get(root.getAuthClient().userRevokeRole(bytes("app"), bytes("writer")));
            refused(app.getKVClient().put(bytes("app/1"), bytes("v")), "etcdserver: permission denied");
        });
        check("all is as before", () -> {
            get(root.getAuthClient().authDisable());
            for (String user : get(plain.userList()).getUsers()) {
                get(plain.userDelete(bytes(user)));
            }
            for (String role : get(plain.roleList()).getRoles()) {
                get(plain.roleDelete(bytes(role)));
            }
            for (String key : List.of("app/1", "app/2")) {
                get(nobody.getKVClient().delete(bytes(key)));
            }
        });
        for (Client client : List.of(nobody, root, app)) {
            client.close();
        }
        System.exit(0);
    }
}
