"""Decide on how many threads a short step runs: on one for some steps if the last one gained nothing by more.

On a busy machine, or where a worker is woken on the caller's CPU, the caller does all of the work and then waits
for a worker that has yet to run. So it is timed: what it did itself says how long it would have taken alone. This
changes no bits: the work is cut into parts that do not depend on who does them.
"""
from libc.stdint cimport int64_t

from ckmeans._runtime cimport now


cdef enum:
    SERIAL_BACKOFF = 16      # steps on one thread after one in vain; of so short steps a few milliseconds


cdef struct Team:
    int n_threads
    int threads              # of this step
    int serial_steps         # that are still to be made on one thread
    int64_t own_parts        # parts of this step that the caller did itself,
    int64_t timed_parts      # and as many of them as it had done at `own_time`
    double start             # of this step; seconds
    double own_time


cdef inline Team team_of(int n_threads) noexcept nogil:
    return Team(n_threads, 1, 0, 0, 0, 0, 0)


cdef inline int begin_step(Team *team) noexcept nogil:
    """How many threads the step is to have."""
    team.own_parts = team.timed_parts = 0
    team.threads = 1
    if team.serial_steps > 0:
        team.serial_steps -= 1
    elif team.n_threads > 1:
        team.threads = team.n_threads
        team.start = now()
    return team.threads


cdef inline void end_part(Team *team, int thread) noexcept nogil:
    """After each part of a step; the clock is read after 1, 2, 4, 8 ... of the caller's, as parts may be short."""
    if thread == 0 and team.threads > 1:
        team.own_parts += 1
        if team.own_parts & (team.own_parts - 1) == 0:
            team.timed_parts = team.own_parts
            team.own_time = now()


cdef inline void end_step(Team *team, int64_t parts) noexcept nogil:
    """After a step of so many parts."""
    if team.timed_parts > 0 and now() - team.start > (team.own_time - team.start) / team.timed_parts * parts:
        team.serial_steps = SERIAL_BACKOFF
