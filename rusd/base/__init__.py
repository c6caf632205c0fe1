"""What every room may use: logs, pending results, sliced work, supervised tasks, URLs,
sockets, durable files."""
