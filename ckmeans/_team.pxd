"""On how many threads a step runs: one, for a while, where the others come too late.

A system may have no processor to spare for them, or wake them on the one that this thread uses; a short
step is then over before they begin, and only waits for them. This changes no bits: what a thread does is
shared out in parts that do not depend on who does them.
"""


cdef enum:
    ALONE = 16               # steps that one thread makes after one that it had to make by itself


cdef struct Team:
    int n_threads
    int alone                # steps that are still to be made so


cdef inline int team_for_step(Team *team) noexcept nogil:
    if team.alone > 0:
        team.alone -= 1
        return 1
    return team.n_threads


cdef inline void note_step(Team *team, bint helped) noexcept nogil:
    """After a step on several threads: whether any but the first did a part of it."""
    if not helped:
        team.alone = ALONE
