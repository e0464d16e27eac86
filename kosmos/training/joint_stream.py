"""The data of all ranks as one: every step agreed on, its counts added up, its errors everyone's."""

from __future__ import annotations

from dataclasses import replace

from kosmos.data.health import TooManyBadRecords, judge
from kosmos.data.stream import Step, Stream, merge_counts
from kosmos.errors import KosmosError
from kosmos.training.world import World


class JointStream:
    """The stream of this rank, kept in step with the others.

    The first step is made at once, so that what is wrong with the data is known before a run begins; only too many bad
    records wait for the first `next`: there is a log to name them in by then.
    """

    def __init__(self, stream: Stream, world: World, max_bad_fraction: float) -> None:
        self._stream = stream
        self._world = world
        self._max_bad_fraction = max_bad_fraction
        self._first: Step | KosmosError | None = self._make()
        errors = world.gather(self._first if isinstance(self._first, KosmosError) else None)
        found = next((error for error in errors if error is not None), None)
        if found is not None and not isinstance(found, TooManyBadRecords):
            stream.close()
            raise found

    def next(self, stop: bool) -> tuple[Step, bool]:
        """This rank's part of the next step, with the counts and bad records of all, and whether any wants to stop.

        An error of one rank is raised on all.
        """
        made = self._first if self._first is not None else self._make()
        self._first = None
        mine = (stop, made, {}, []) if isinstance(made, KosmosError) else (stop, None, made.counts, made.bad)
        ranks = self._world.gather(mine)
        error = made if isinstance(made, KosmosError) else next((rank[1] for rank in ranks if rank[1]), None)
        if error is not None:
            raise error
        assert isinstance(made, Step)
        stopping = any(rank[0] for rank in ranks)
        if len(ranks) == 1:
            return made, stopping
        counts = merge_counts([rank[2] for rank in ranks])
        bad = [record for rank in ranks for record in rank[3]]
        for name, total in counts.items():
            found = [record for source, record in bad if source == name]
            judge(name, total.records, total.bad_records, found, self._max_bad_fraction)
        return replace(made, counts=counts, bad=bad), stopping

    def _make(self) -> Step | KosmosError:
        try:
            return next(self._stream)
        except KosmosError as error:
            return error

    def close(self) -> None:
        self._stream.close()
