"""The durable log: journal, segments, records, recovery, compaction."""
