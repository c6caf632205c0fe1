"""Configuration: etcd's flags, ETCD_* variables and YAML file, parsed and checked once.

    argv, environ -> parse_arguments -> load -> Loaded(config, notes) -> Member(config)

- `config.py`: the table of flags, which is the frozen dataclass `Config`
- `unsupported_flags.py`: flags of etcd that are refused, or accepted without effect
- `parsers.py`: text to typed values, in Go's notation
- `load.py`: command line, environment or file to a `Config`
- `auth_token.py`: the options of `--auth-token`
- `check.py`: contradictions between flags; `tls.py`: those of TLS, and the names of cipher suites
- `help.py`: the text of `--help`

Promises: a flag that rusd cannot honour is refused at start, never ignored in silence. Errors are
ConfigError with one line, in etcd's words where etcd has any.

No other room reads the command line, the environment or a file of configuration (but systemd's
NOTIFY_SOCKET, `base/systemd.py`). This room opens nothing that a flag names but the configuration
file, and knows no component that uses a flag.
"""

from rusd.config.check import check_bootstrap
from rusd.config.config import Config, ConfigError, UsageError
from rusd.config.help import help_text
from rusd.config.load import Arguments, Loaded, load, parse_arguments

__all__ = [
    "Arguments",
    "Config",
    "ConfigError",
    "Loaded",
    "UsageError",
    "check_bootstrap",
    "help_text",
    "load",
    "parse_arguments",
]
