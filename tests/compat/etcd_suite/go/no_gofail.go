// Belongs to tests/compat/etcd_suite (build.py puts it into the package e2e of etcd's suite).

package e2e

import "os"

// failpoints returns no failpoints where FAILPOINT names a fault that needs none: the suite skips
// clusters whose program was not built with gofail.
func failpoints(member EtcdProcess) (map[string]string, error) {
	if os.Getenv("FAILPOINT") != "" {
		return map[string]string{}, nil
	}
	return failpointsOfGofail(member)
}
