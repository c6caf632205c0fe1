"""What a member reports of the backups of `--backup-interval`, and of the archive between them."""

from rusd.backup.archive import Archiver
from rusd.backup.scheduled import Backups
from rusd.console.reports import BackupReport


def backup_report(backups: Backups | None, archiver: Archiver | None) -> BackupReport | None:
    """Return the report of a member now; None without backups."""
    if backups is None:
        return None
    newest = backups.newest
    overdue = [backups.overdue(), *([] if archiver is None else [archiver.overdue()])]
    return BackupReport(
        time=0 if newest is None else int(newest.time),
        revision=0 if newest is None else newest.revision,
        size=backups.size,
        failures=backups.failures,
        overdue="; ".join(filter(None, overdue)),
        archive_behind=None if archiver is None else archiver.behind,
    )
