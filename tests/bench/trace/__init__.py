"""Where the time of one call goes: `python -m tests.bench.trace [--calls N] [--put]`.

    member      rusd, with the time of its stages noted in memory and written to a file at its end
    stages      notes of all members and times of the calls -> the median of each stage
    __main__    a cluster of such members, one call at a time, a table per kind of call

All processes read the same clock (CLOCK_MONOTONIC), so the stages of three members stand in one
order. Each note costs about 1 µs, which is in the times.
"""
