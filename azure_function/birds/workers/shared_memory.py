"""Shared memory without a name, for the bytes of a photo and the arrays of its result."""

import os
from collections import deque
from collections.abc import Iterable
from itertools import count
from typing import NamedTuple

SPARE_BYTES = 24 * 2**20  # of all spare blocks: new memory costs more time than to write into it
numbers = count()
spare: "deque[Block]" = deque()


class NotShared(Exception):
    """Another process cannot open a block: this system does not let it."""


class Block(NamedTuple):
    """Memory that the process `pid` has open as `fd`, with `size` bytes at first; `name` is unique.

    The `size` of a spare block is all its memory.

    Only on Linux. Python's named shared memory is in /dev/shm, which containers limit to 64 MB.
    """

    pid: int
    fd: int
    name: str
    size: int

    @classmethod
    def create(cls, data: bytes) -> "Block":
        """Create a block with a copy of some bytes, or take a spare one."""
        try:
            block = spare.pop()._replace(size=len(data))
        except IndexError:
            name = f"fieldmark-{next(numbers)}-"
            block = cls(os.getpid(), os.memfd_create(name), name, len(data))
        try:
            write_pieces(block.fd, (data,))
        except BaseException:
            block.close()
            raise
        return block

    def open(self) -> int:
        """Open the block in another process; return its file descriptor there.

        Raises NotShared, also if the block was closed and another file has its number.
        """
        try:
            fd = os.open(f"/proc/{self.pid}/fd/{self.fd}", os.O_RDWR)
        except OSError as error:
            raise NotShared from error
        if self.name not in os.readlink(f"/proc/self/fd/{fd}"):
            os.close(fd)
            raise NotShared
        return fd

    def read_pieces(self, sizes: Iterable[int]) -> list[bytearray]:
        """Return what the block contains: pieces of these sizes, one after the other."""
        pieces, offset = [bytearray(size) for size in sizes], 0
        for piece in pieces:
            offset += os.preadv(self.fd, [piece], offset)
        return pieces

    def recycle(self) -> None:
        """Keep the block for another photo, unless it is large: no other process may use it now."""
        block = self._replace(size=os.fstat(self.fd).st_size)
        if block.size + sum(other.size for other in tuple(spare)) <= SPARE_BYTES:
            spare.append(block)
        else:
            self.close()

    def close(self) -> None:
        """Close the block where it was created; the memory is freed when nobody has it open."""
        os.close(self.fd)


def write_pieces(fd: int, pieces: Iterable) -> None:
    """Write bytes-like pieces one after the other, from the start."""
    offset = 0
    for piece in pieces:
        view, done = memoryview(piece), 0
        while done < len(view):
            done += os.pwrite(fd, view[done:], offset + done)
        offset += done
