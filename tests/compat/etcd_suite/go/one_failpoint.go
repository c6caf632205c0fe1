// Belongs to tests/compat/etcd_suite (build.py puts it into the package failpoint of etcd's suite).

package failpoint

import (
	"context"
	"os"
	"testing"
	"time"

	"go.uber.org/zap"

	"go.etcd.io/etcd/tests/v3/framework/e2e"
	"go.etcd.io/etcd/tests/v3/robustness/identity"
	"go.etcd.io/etcd/tests/v3/robustness/report"
)

// Chosen is the fault that FAILPOINT names, or nil. The suite draws one of those that are available.
var Chosen = map[string]Failpoint{
	"Kill":                   KillFailpoint,
	"blackholePeerNetwork":   BlackholePeerNetwork,
	"blackholeUntilSnapshot": BlackholeUntilSnapshot,
	"delayPeerNetwork":       DelayPeerNetwork,
	"dropPeerNetwork":        DropPeerNetwork,
	"MemberReplace":          MemberReplace,
	"isolateLeader":          isolateLeader{},
}[os.Getenv("FAILPOINT")]

func init() {
	if Chosen != nil {
		allFailpoints = []Failpoint{Chosen}
	}
}

// isolateLeader cuts the leader off for longer than the longest election timeout of the suite, so
// that the others elect a new one while clients still ask the old one.
type isolateLeader struct {
	blackholePeerNetworkFailpoint
}

func (isolateLeader) Name() string { return "isolateLeader" }

func (isolateLeader) Inject(ctx context.Context, t *testing.T, lg *zap.Logger, clus *e2e.EtcdProcessCluster, _ time.Time, _ identity.Provider) ([]report.ClientReport, error) {
	leader := clus.Procs[clus.WaitLeader(t)]
	proxy := leader.PeerProxy()
	lg.Info("Isolating the leader", zap.String("member", leader.Config().Name))
	proxy.BlackholeTx()
	proxy.BlackholeRx()
	time.Sleep(5 * time.Second)
	proxy.UnblackholeTx()
	proxy.UnblackholeRx()
	lg.Info("The leader is connected again", zap.String("member", leader.Config().Name))
	return nil, nil
}
