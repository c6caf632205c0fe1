// Belongs to tests/compat/etcd_suite (build.py puts it into the package report of etcd's suite).

package report

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"go.etcd.io/etcd/tests/v3/robustness/model"
	"go.etcd.io/raft/v3/raftpb"
)

// PersistedRequests returns the requests that the members' logs hold, in the order of the log. A
// log entry of rusd holds several requests; the suite's own code compares the entries of the
// members and decodes the requests.
func PersistedRequests(lg *zap.Logger, dataDirs []string) ([]model.EtcdRequest, error) {
	if os.Getenv("JOURNAL_READER") == "" {
		return persistedRequestsOfEtcd(lg, dataDirs)
	}
	members := make([][]*raftpb.Entry, len(dataDirs))
	for i, directory := range dataDirs {
		entries, err := readJournal(directory)
		if err != nil {
			return nil, fmt.Errorf("journal of %s: %w", directory, err)
		}
		members[i] = entries
	}
	// No commit index is in the journal: of two entries that contradict each other, the later
	// term counts.
	merged, err := mergeMembersEntries(0, members)
	if err != nil {
		return nil, err
	}
	var requests []model.EtcdRequest
	for _, entry := range merged {
		for data := entry.GetData(); len(data) > 0; {
			end := 4 + binary.LittleEndian.Uint32(data)
			request, err := parseEntryNormal(&raftpb.Entry{Data: data[4:end]})
			if err != nil {
				return nil, err
			}
			if request != nil {
				requests = append(requests, *request)
			}
			data = data[end:]
		}
	}
	return requests, nil
}

// readJournal runs the program named by JOURNAL_READER (tests/compat/etcd_suite/robustness/journal.py
// describes what it writes).
func readJournal(directory string) (entries []*raftpb.Entry, err error) {
	command := exec.Command(os.Getenv("JOURNAL_READER"), directory)
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		return nil, err
	}
	for len(out) > 0 {
		index, term := binary.LittleEndian.Uint64(out), binary.LittleEndian.Uint64(out[8:])
		end := 20 + binary.LittleEndian.Uint32(out[16:])
		entries = append(entries, &raftpb.Entry{
			Index: proto.Uint64(index), Term: proto.Uint64(term), Data: out[20:end],
		})
		out = out[end:]
	}
	return entries, nil
}

// copyLive copies the data directory of a running member, whose files may vanish meanwhile.
func copyLive(to string, from fs.FS) error {
	return fs.WalkDir(from, ".", func(name string, item fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		target := filepath.Join(to, name)
		if item.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		if !item.Type().IsRegular() {
			return nil
		}
		source, err := from.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		defer source.Close()
		copied, err := os.Create(target)
		if err != nil {
			return err
		}
		defer copied.Close()
		_, err = io.Copy(copied, source)
		return err
	})
}
