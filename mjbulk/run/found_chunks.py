"""Chunks of an earlier process that were found again, until it is known that all of them are there unchanged."""

from array import array

from mjbulk.chunks.chunker import Chunker
from mjbulk.run.chunk import ChunkInFlight
from mjbulk.run.chunk_queue import WaitingChunk


class FoundChunks:
    """Chunks of an earlier process. Mutable state: the chunks that have something left to be done, and their people."""

    def __init__(self) -> None:
        """Begin without a chunk."""
        self._chunks: dict[int, tuple[ChunkInFlight, array[int]]] = {}

    def add(self, chunk: ChunkInFlight, people: "array[int]") -> None:
        """Take a chunk, and the hashes of its people."""
        self._chunks[chunk.number] = (chunk, people)

    def take(self) -> list[ChunkInFlight]:
        """Give up all chunks, and give them."""
        chunks, self._chunks = self._chunks, {}
        return [chunk for chunk, _ in chunks.values()]

    def to_be_sent(self, chunker: Chunker) -> list[WaitingChunk]:
        """Give up all chunks, and give what has to be sent of them: every one of them was found unchanged.

        Each waits for those before it that share a person with it, and for known jobs of those after it.
        """
        waiting: dict[int, WaitingChunk] = {}
        for number, (found, people) in sorted(self._chunks.items()):
            if number not in chunker.unfinished:
                continue
            shared = chunker.people.enter_recorded(number, people)
            if not found.known_jobs_ended:
                for before in shared & waiting.keys():
                    waiting[before].jobs.add(number)
            if found.to_be_sent:
                jobs = set() if found.known_jobs_ended else {number}
                waiting[number] = WaitingChunk(found, chunks=shared, jobs=jobs, overtakes=frozenset(shared))
        self._chunks.clear()
        return list(waiting.values())
