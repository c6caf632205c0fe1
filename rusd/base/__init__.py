"""What every room may use: logs, pending results, sliced work, URLs, sockets, durable files."""
