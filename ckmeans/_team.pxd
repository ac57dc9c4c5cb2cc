"""On how many threads a step runs: one, for a while, where the others come too late.

A system may wake them on the processor that this thread uses, and they only take turns. So they are moved
apart before the first step and after one like that. Where that was in vain, as no processor is free for them,
this thread goes on alone for some steps. This changes no bits: what a thread does is shared out in parts that
do not depend on who does them.
"""
from ckmeans._runtime cimport spread_out


cdef enum:
    ALONE = 16               # steps that one thread makes where the others could not be moved apart


cdef struct Team:
    int n_threads
    int alone                # steps that are still to be made so
    bint apart               # the threads were moved apart
    bint proven              # and shared a step since


cdef inline Team team_of(int n_threads) noexcept nogil:
    return Team(n_threads, 0, False, False)


cdef inline int team_for_step(Team *team) noexcept nogil:
    if team.alone > 0:
        team.alone -= 1
        return 1
    if not team.apart:
        spread_out(team.n_threads)
        team.apart = True
        team.proven = False
    return team.n_threads


cdef inline void note_step(Team *team, bint shared) noexcept nogil:
    """After a step on several threads: whether any part of it was done on another processor."""
    if shared:
        team.proven = True
        return
    team.apart = False
    if not team.proven:
        team.alone = ALONE
