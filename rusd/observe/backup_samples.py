"""Samples of the backups that `--backup-interval` asks for, and of the archive between them."""

from collections.abc import Iterator
from dataclasses import dataclass

from rusd.backup.archive import Archiver
from rusd.backup.scheduled import Backups
from rusd.observe.samples import Sample


@dataclass(frozen=True, slots=True)
class BackupSamples:
    """Reads the samples (a `Source`)."""

    backups: Backups

    def read(self) -> Iterator[Sample]:
        """Yield all samples, now. Those of the last backup begin with the first one."""
        backups = self.backups
        yield Sample("rusd_backups_total", "Backups made.", backups.successes, counter=True)
        yield Sample(
            "rusd_backup_failures_total", "Backups that failed.", backups.failures, counter=True
        )
        yield Sample("rusd_backup_overdue", "Whether one is overdue.", bool(backups.overdue()))
        if backups.newest is not None:
            yield Sample(
                "rusd_backup_last_success_timestamp_seconds",
                "Unix time of the last backup.",
                backups.newest.time,
            )
            yield Sample("rusd_backup_last_revision", "Its revision.", backups.newest.revision)
            yield Sample("rusd_backup_last_size_bytes", "Its size.", backups.size)
        if backups.successes:
            yield Sample("rusd_backup_last_duration_seconds", "Time to make it.", backups.seconds)


@dataclass(frozen=True, slots=True)
class ArchiveSamples:
    """Reads the samples (a `Source`)."""

    archiver: Archiver

    def read(self) -> Iterator[Sample]:
        """Yield all samples, now."""
        archiver = self.archiver
        yield Sample(
            "rusd_backup_archive_segments_total",
            "Segments of the archive written.",
            archiver.segments,
            counter=True,
        )
        yield Sample("rusd_backup_archive_bytes_total", "Their bytes.", archiver.size, counter=True)
        yield Sample(
            "rusd_backup_archive_failures_total",
            "Segments that failed.",
            archiver.failures,
            counter=True,
        )
        yield Sample(
            "rusd_backup_archive_behind_seconds",
            "Age of the oldest entry that is not archived.",
            archiver.behind,
        )
        yield Sample(
            "rusd_backup_archive_last_index", "Index of the last archived entry.", archiver.last
        )
