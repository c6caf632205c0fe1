// Belongs to tests/compat/etcd_suite (build.py puts it into the package scenarios of etcd's suite).

package scenarios

import (
	"testing"

	"go.etcd.io/etcd/tests/v3/robustness/failpoint"
)

// Regression returns the suite's scenarios, with the fault that FAILPOINT names in place of theirs.
func Regression(t *testing.T) []TestScenario {
	all := regressionOfEtcd(t)
	if failpoint.Chosen != nil {
		for i := range all {
			all[i].Failpoint = failpoint.Chosen
		}
	}
	return all
}
