// Belongs to tests/compat/etcd_suite (build.py puts it into the package e2e of etcd's suite).

package e2e

import (
	"fmt"
	"net"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/pkg/v3/proxy"
)

// peerProxy applies the faults of a member to all its peer connections. The suite's proxy stands
// before the member's own peer port, so it has only the connections that others dial. One more for
// each peer takes the connections that the member dials: the packet filter of the namespace sends
// them there, and tells them by the group id of the process (PEER_GROUP, set by the program `etcd`
// of the runner).
type peerProxy struct {
	proxy.Server
	dialled []proxy.Server
	rules   [][]string
}

func newPeerProxy(cfg *EtcdServerProcessConfig) proxy.Server {
	p := &peerProxy{Server: newProxy(*cfg.Proxy)}
	group := cfg.Proxy.To.Port()
	cfg.EnvVars["PEER_GROUP"] = group
	for _, peer := range advertisedPeers(cfg) {
		if peer.Host == cfg.Proxy.From.Host {
			continue
		}
		dialled, port := proxyTo(peer, *cfg.Proxy)
		p.dialled = append(p.dialled, dialled)
		for _, command := range []string{"iptables", "ip6tables"} {
			rule := []string{
				command, "-w", "-t", "nat", "-A", "OUTPUT", "-o", "lo", "-p", "tcp",
				"--dport", peer.Port(), "-m", "owner", "--gid-owner", group,
				"-j", "REDIRECT", "--to-ports", strconv.Itoa(port),
			}
			run(rule)
			p.rules = append(p.rules, rule)
		}
	}
	return p
}

// proxyTo starts a proxy that leads to a peer, on a free port. The suite starts members at the same
// time, so that a port may be taken by the proxy of another one: such a proxy has ended, and a member
// behind it would not find its peer.
func proxyTo(peer url.URL, cfg proxy.ServerConfig) (proxy.Server, int) {
	cfg.To = peer
	for {
		port := freePort()
		cfg.From.Host = fmt.Sprintf("localhost:%d", port)
		s := newProxy(cfg)
		select {
		case <-s.Ready():
			return s, port
		case <-s.Done():
			fmt.Println("the port of a proxy was taken:", port)
		}
	}
}

// newProxy starts a proxy whose errors are dropped: it stops to accept connections once 16 of them
// wait to be read, as after 16 dials of a member that was killed.
func newProxy(cfg proxy.ServerConfig) proxy.Server {
	s := proxy.NewServer(cfg)
	go func() {
		select {
		case <-s.Ready():
		case <-s.Done():
			return
		}
		for {
			select {
			case <-s.Error():
			case <-s.Done():
				return
			}
		}
	}()
	return s
}

// advertisedPeers returns the peer URLs of the initial cluster.
func advertisedPeers(cfg *EtcdServerProcessConfig) (urls []url.URL) {
	for _, argument := range cfg.Args {
		members, found := strings.CutPrefix(argument, "--initial-cluster=")
		if !found {
			continue
		}
		for _, member := range strings.Split(members, ",") {
			_, text, _ := strings.Cut(member, "=")
			parsed, err := url.Parse(text)
			if err != nil {
				panic(err)
			}
			urls = append(urls, *parsed)
		}
	}
	return urls
}

func freePort() int {
	listener, err := net.Listen("tcp", ":0")
	if err != nil {
		panic(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

func run(command []string) {
	if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
		panic(fmt.Sprintf("%v: %v: %s", command, err, out))
	}
}

func (p *peerProxy) Close() error {
	for _, rule := range p.rules {
		remove := append([]string(nil), rule...)
		remove[4] = "-D"
		run(remove)
	}
	for _, each := range p.dialled {
		each.Close()
	}
	return p.Server.Close()
}

// To the member is Tx of its own proxy, and Rx of a connection that it dialled.

func (p *peerProxy) each(own, dialled func(proxy.Server)) {
	own(p.Server)
	for _, each := range p.dialled {
		dialled(each)
	}
}

func (p *peerProxy) BlackholeTx()   { p.each(proxy.Server.BlackholeTx, proxy.Server.BlackholeRx) }
func (p *peerProxy) BlackholeRx()   { p.each(proxy.Server.BlackholeRx, proxy.Server.BlackholeTx) }
func (p *peerProxy) UnblackholeTx() { p.each(proxy.Server.UnblackholeTx, proxy.Server.UnblackholeRx) }
func (p *peerProxy) UnblackholeRx() { p.each(proxy.Server.UnblackholeRx, proxy.Server.UnblackholeTx) }
func (p *peerProxy) UndelayTx()     { p.each(proxy.Server.UndelayTx, proxy.Server.UndelayRx) }
func (p *peerProxy) UndelayRx()     { p.each(proxy.Server.UndelayRx, proxy.Server.UndelayTx) }
func (p *peerProxy) UnmodifyTx()    { p.each(proxy.Server.UnmodifyTx, proxy.Server.UnmodifyRx) }
func (p *peerProxy) UnmodifyRx()    { p.each(proxy.Server.UnmodifyRx, proxy.Server.UnmodifyTx) }

func (p *peerProxy) DelayTx(latency, random time.Duration) {
	p.each(
		func(s proxy.Server) { s.DelayTx(latency, random) },
		func(s proxy.Server) { s.DelayRx(latency, random) },
	)
}

func (p *peerProxy) DelayRx(latency, random time.Duration) {
	p.each(
		func(s proxy.Server) { s.DelayRx(latency, random) },
		func(s proxy.Server) { s.DelayTx(latency, random) },
	)
}

func (p *peerProxy) ModifyTx(f func(data []byte) []byte) {
	p.each(
		func(s proxy.Server) { s.ModifyTx(f) },
		func(s proxy.Server) { s.ModifyRx(f) },
	)
}

func (p *peerProxy) ModifyRx(f func(data []byte) []byte) {
	p.each(
		func(s proxy.Server) { s.ModifyRx(f) },
		func(s proxy.Server) { s.ModifyTx(f) },
	)
}
