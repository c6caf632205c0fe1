"""RocksDB settings, sized so that three members fit on a laptop.

The block cache and the total size of all memtables bound the memory. Compression is LZ4, which
costs less than the pages it saves. CURRENT is read by key, so it has bloom filters.
"""

from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    DBRecoveryMode,
    Options,
)

from rusd.storage.family import Family

BLOCK_CACHE_BYTES = 32 << 20
#: Memtable size of the families that every put writes to, and of the others.
BUSY_BUFFER_BYTES = 16 << 20
QUIET_BUFFER_BYTES = 1 << 20
#: Memtables of all families together; beyond it the largest is flushed.
ALL_BUFFERS_BYTES = 48 << 20
#: The write-ahead log is flushed into tables when it reaches this size, which bounds a restart.
MAX_WAL_BYTES = 64 << 20

_BUSY = {Family.KEY, Family.CURRENT, Family.INDEX}


def database_options(*, mapped: bool = False) -> Options:
    """Return the options of the database as a whole.

    `mapped`: tables are mapped into memory, which halves the time to read all of them. A disk that
    fails to read then ends the process.
    """
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.create_missing_column_families(True)
    options.set_max_total_wal_size(MAX_WAL_BYTES)
    # Raft's journal replays what a power failure tore off the end of this log.
    options.set_wal_recovery_mode(DBRecoveryMode.point_in_time())
    options.set_keep_log_file_num(2)
    options.set_max_log_file_size(1 << 20)
    options.set_max_background_jobs(2)
    options.set_max_open_files(512)
    options.set_bytes_per_sync(1 << 20)
    # Written back as it grows, so that `Engine.sync` waits for little.
    options.set_wal_bytes_per_sync(1 << 20)
    options.set_write_buffer_size(QUIET_BUFFER_BYTES)
    options.set_db_write_buffer_size(ALL_BUFFERS_BYTES)
    options.set_allow_mmap_reads(mapped)
    return options


def family_options() -> dict[str, Options]:
    """Options of every family, by its name on disk. One block cache serves them all."""
    cache = Cache(BLOCK_CACHE_BYTES)
    return {family.value: _family(family, cache) for family in Family}


def _family(family: Family, cache: Cache) -> Options:
    options = Options(raw_mode=True)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_write_buffer_size(BUSY_BUFFER_BYTES if family in _BUSY else QUIET_BUFFER_BYTES)
    options.set_max_write_buffer_number(2)
    table = BlockBasedOptions()
    table.set_block_cache(cache)
    table.set_cache_index_and_filter_blocks(True)
    table.set_pin_l0_filter_and_index_blocks_in_cache(True)
    if family is Family.CURRENT:
        table.set_bloom_filter(10, False)
    options.set_block_based_table_factory(table)
    return options
