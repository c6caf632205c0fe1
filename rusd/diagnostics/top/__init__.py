"""top: what the members of a cluster do now, as a table that is drawn anew, or once.

Files:
    samples  asks all members, again and again
    rates    rows of figures of two samples; no I/O
    plain    the rows as text and as JSON
    screen   the live view, by the library rich, and its keys
"""
