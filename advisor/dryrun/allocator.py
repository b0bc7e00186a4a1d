"""What PyTorch's CUDA caching allocator would reserve for a sequence of allocations and frees.

The allocator takes memory from the device in segments, cuts them into blocks, and keeps freed blocks for later. So a
process reserves more than its tensors have, and what it reserves decides whether a step fits a GPU. Rules as in
`c10/cuda/CUDACachingAllocator.cpp` of pytorch/pytorch (read at commits 001074d25084 and eb42ad6eca0c), constants and
defaults as in `c10/core/AllocatorConfig.h` of PyTorch 2.13:

- Requests are rounded up to 512 bytes; a request of zero bytes gets no block.
- At most 1 MiB is served from the small pool, whose segments have 2 MiB. Larger requests come from the large pool:
  segments of 20 MiB for less than 10 MiB (after rounding), else the request rounded up to 2 MiB.
- The smallest free block of the pool that is large enough is taken; among equals the oldest segment, then the lowest
  address. It is split when at least 512 bytes (small pool) or more than 1 MiB (large pool) would remain; otherwise
  the remainder goes with it and counts as allocated.
- A freed block merges with free neighbours in its segment. Segments stay until the cache is emptied, which happens
  also when the device has no room for a new one; only segments with no block in use can be given back.
- With expandable segments a pool is one range of addresses that grows by pages (2 MiB in the small pool, 20 MiB in
  the large one); blocks are split in both pools when at least 512 bytes remain; emptying the cache gives back every
  page that lies whole in a free block.

The compiled allocators of PyTorch 2.6.0, 2.13.0 and 2.14.1 give the same bytes after every event of random traces
when their CUDA runtime is replaced by a counter of bytes; the tests hold what 2.13.0 gave. 2.6.0 goes by address alone
among equals, so it may differ where CUDA gives a later segment a lower address.

Not covered: several streams (a block is reusable at once here), memory pools of CUDA graphs, settings other than the
default (`max_split_size_mb`, `roundup_power2_divisions`, `garbage_collection_threshold`), the CUDA context itself.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass

from advisor.errors import AdvisorError
from advisor.spec import GIB

MIB = 2**20
# c10/core/AllocatorConfig.h: kMinBlockSize, kSmallSize, kSmallBuffer, kMinLargeAlloc, large_segment_size_, kRoundLarge
BLOCK_BYTES = 512
LARGEST_SMALL_BYTES = MIB
SMALL_SEGMENT_BYTES = 2 * MIB
LEAST_OWN_SEGMENT_BYTES = 10 * MIB
LARGE_SEGMENT_BYTES = 20 * MIB
ROUND_LARGE_BYTES = 2 * MIB

# The allocator refuses to go beyond this (one_exa_bytes in CUDACachingAllocator.cpp), so it stands for no limit.
NO_LIMIT_BYTES = 2**60

# Free blocks are ordered by one integer, size above address. No address is given twice, so that a later segment has a
# higher one: that takes more bits than on a device.
_ADDRESS_BITS = 64


class OutOfDeviceMemoryError(AdvisorError):
    """A request does not fit the device, not even after the cache was emptied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peaks:
    """The most that was held at any time, in bytes.

    Attributes:
        allocated_bytes: Blocks in use (`torch.cuda.max_memory_allocated`).
        reserved_bytes: Segments held (`torch.cuda.max_memory_reserved`).
        requested_bytes: Blocks in use before rounding (`requested_bytes.all.peak` of `torch.cuda.memory_stats`).
    """

    allocated_bytes: int
    reserved_bytes: int
    requested_bytes: int


class CachingAllocator:
    """One device, one stream, default settings; blocks are known by a key that the caller chooses.

    Attributes:
        allocated_bytes, requested_bytes: Blocks in use, as they are and as they were asked for.
        peak_allocated_bytes, peak_requested_bytes: The largest they were since the last reset.
    """

    def __init__(self, *, limit_bytes: int = NO_LIMIT_BYTES, expandable_segments: bool = False) -> None:
        """Begin with an empty device.

        Args:
            limit_bytes: What the device has for segments: its memory less the CUDA context.
            expandable_segments: As `PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True`.
        """
        self.allocated_bytes = self.peak_allocated_bytes = 0
        self.requested_bytes = self.peak_requested_bytes = 0
        self._device = _Device(limit_bytes)
        kind: type[_Pool] = _ExpandablePool if expandable_segments else _Pool
        self._small = kind(self._device, is_small=True)
        self._large = kind(self._device, is_small=False)
        self._live: dict[int, _Block] = {}

    @property
    def reserved_bytes(self) -> int:
        """Bytes of segments, in use or cached."""
        return self._device.reserved_bytes

    @property
    def peak_reserved_bytes(self) -> int:
        """Largest `reserved_bytes` since the last reset."""
        return self._device.peak_reserved_bytes

    @property
    def peaks(self) -> Peaks:
        """All peaks since the last reset."""
        return Peaks(
            allocated_bytes=self.peak_allocated_bytes,
            reserved_bytes=self.peak_reserved_bytes,
            requested_bytes=self.peak_requested_bytes,
        )

    def allocate(self, key: int, nbytes: int) -> None:
        """Allocate a block.

        Args:
            key: Name of the block until it is freed.
            nbytes: What is asked for, not rounded; zero takes nothing.

        Raises:
            OutOfDeviceMemoryError: No room; the cache was emptied, everything else is as before.
            ValueError: The key is in use, or `nbytes` is negative.
        """
        if key in self._live or nbytes < 0:
            raise ValueError(f"allocation {key} of {nbytes} bytes: the key is in use or the size is negative")
        if nbytes == 0:
            return
        size = (nbytes + BLOCK_BYTES - 1) & -BLOCK_BYTES
        pool = self._small if size <= LARGEST_SMALL_BYTES else self._large
        block = pool.take(size) or pool.grow(size) or self._retry(pool, size)
        if block.size - size >= pool.least_remainder_bytes:
            block = pool.split(block, size)
        block.is_free = False
        block.requested_bytes = nbytes
        self._live[key] = block
        self.allocated_bytes += block.size
        self.requested_bytes += nbytes
        self.peak_allocated_bytes = max(self.peak_allocated_bytes, self.allocated_bytes)
        self.peak_requested_bytes = max(self.peak_requested_bytes, self.requested_bytes)

    def free(self, key: int) -> None:
        """Free a block: it goes back to its pool, the segment stays. A key that holds nothing is passed over."""
        block = self._live.pop(key, None)
        if block is not None:
            self.allocated_bytes -= block.size
            self.requested_bytes -= block.requested_bytes
            (self._small if block.is_small else self._large).put_back(block)

    def empty_cache(self) -> None:
        """Give segments (pages, where they are expandable) with no block in use back to the device."""
        self._large.release()
        self._small.release()

    def reset_peaks(self) -> None:
        """Let the peaks begin again at what is held now."""
        self.peak_allocated_bytes, self.peak_requested_bytes = self.allocated_bytes, self.requested_bytes
        self._device.peak_reserved_bytes = self._device.reserved_bytes

    def _retry(self, pool: "_Pool", size: int) -> "_Block":
        """Return a block from new memory once the cache is empty."""
        self.empty_cache()
        if block := pool.grow(size):
            return block
        raise OutOfDeviceMemoryError(
            f"out of device memory: {size / GIB:.2f} GiB asked for, {self.allocated_bytes / GIB:.2f} in use and "
            f"{self.reserved_bytes / GIB:.2f} reserved of {self._device.limit_bytes / GIB:.2f}; "
            "use a smaller batch or shorter sequences"
        )


def replay(
    events: Iterable[tuple[int, int]], *, limit_bytes: int = NO_LIMIT_BYTES, expandable_segments: bool = False
) -> Peaks:
    """Return the peaks of a trace.

    Args:
        events: `(key, nbytes)`: an allocation where `nbytes` is positive, the end of that key where it is zero.
        limit_bytes: See `CachingAllocator`, also for `expandable_segments`.

    Raises:
        OutOfDeviceMemoryError: The trace does not fit the limit.
    """
    allocator = CachingAllocator(limit_bytes=limit_bytes, expandable_segments=expandable_segments)
    allocate, free = allocator.allocate, allocator.free
    for key, nbytes in events:
        if nbytes:
            allocate(key, nbytes)
        else:
            free(key)
    return allocator.peaks


class _Device:
    """The memory that segments are made of, and where the next segment begins."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.next_address = self.reserved_bytes = self.peak_reserved_bytes = 0

    def reserve(self, size: int) -> bool:
        """Take memory; false when there is not as much."""
        if self.reserved_bytes + size > self.limit_bytes:
            return False
        self.reserved_bytes += size
        self.peak_reserved_bytes = max(self.peak_reserved_bytes, self.reserved_bytes)
        return True

    def addresses(self, size: int, alignment: int) -> int:
        """Return the beginning of a range of addresses that nothing else uses."""
        begin = _rounded_up(self.next_address, alignment)
        self.next_address = begin + size
        return begin


class _Block:
    """A piece of a segment and its neighbours there; neither free nor in use where nothing is mapped."""

    __slots__ = ("address", "after", "before", "is_free", "is_mapped", "is_small", "requested_bytes", "size")

    def __init__(
        self, address: int, size: int, is_small: bool, before: "_Block | None" = None, after: "_Block | None" = None
    ) -> None:
        self.address, self.size, self.is_small = address, size, is_small
        self.is_free, self.is_mapped = False, True
        self.requested_bytes = 0
        self.before, self.after = before, after
        if before is not None:
            before.after = self
        if after is not None:
            after.before = self

    def absorb(self, other: "_Block") -> None:
        self.size += other.size
        if other is self.before:
            self.address = other.address
            self.before = other.before
            if other.before is not None:
                other.before.after = self
        else:
            self.after = other.after
            if other.after is not None:
                other.after.before = self


class _Pool:
    """Free blocks by size, on segments that come from and go to the device whole."""

    def __init__(self, device: _Device, *, is_small: bool) -> None:
        self.device, self.is_small = device, is_small
        self.least_remainder_bytes = BLOCK_BYTES if is_small else LARGEST_SMALL_BYTES + 1
        self.order: list[int] = []
        self.free: dict[int, _Block] = {}

    def take(self, size: int) -> _Block | None:
        """Return the smallest free block of at least `size` bytes, no longer in the pool."""
        at = bisect_left(self.order, size << _ADDRESS_BITS)
        return self.free.pop(self.order.pop(at)) if at < len(self.order) else None

    def grow(self, size: int) -> _Block | None:
        """Return a new segment that can hold `size` bytes; None when the device is full."""
        if self.is_small:
            size = SMALL_SEGMENT_BYTES
        else:
            size = LARGE_SEGMENT_BYTES if size < LEAST_OWN_SEGMENT_BYTES else _rounded_up(size, ROUND_LARGE_BYTES)
        if not self.device.reserve(size):
            return None
        return _Block(self.device.addresses(size, SMALL_SEGMENT_BYTES), size, self.is_small)

    def split(self, block: _Block, size: int) -> _Block:
        """Return the first `size` bytes of a block; the rest is free."""
        first = _Block(block.address, size, self.is_small, block.before, block)
        block.address += size
        block.size -= size
        self.insert(block)
        return first

    def put_back(self, block: _Block) -> None:
        """Merge a block with free neighbours and keep it."""
        for neighbour in (block.before, block.after):
            if neighbour is not None and neighbour.is_free:
                self.remove(neighbour)
                block.absorb(neighbour)
        self.insert(block)

    def release(self) -> None:
        """Give segments that are one free block back to the device."""
        for block in [block for block in self.free.values() if block.before is None and block.after is None]:
            self.remove(block)
            self.device.reserved_bytes -= block.size

    def insert(self, block: _Block) -> None:
        block.is_free = True
        key = block.size << _ADDRESS_BITS | block.address
        insort(self.order, key)
        self.free[key] = block

    def remove(self, block: _Block) -> None:
        key = block.size << _ADDRESS_BITS | block.address
        del self.order[bisect_left(self.order, key)]
        del self.free[key]


class _ExpandablePool(_Pool):
    """Free blocks on one range of addresses, of which whole pages are mapped to memory as they are needed."""

    def __init__(self, device: _Device, *, is_small: bool) -> None:
        super().__init__(device, is_small=is_small)
        self.least_remainder_bytes = BLOCK_BYTES
        self.page_bytes = SMALL_SEGMENT_BYTES if is_small else LARGE_SEGMENT_BYTES
        self.unmapped: dict[int, _Block] = {}  # by address

    def take(self, size: int) -> _Block | None:
        """As in any pool, but a block that could be expanded counts as large as it could become."""
        order, free = self.order, self.free
        at = bisect_left(order, size << _ADDRESS_BITS)
        if at == len(order):
            return None
        while at + 1 < len(order) and _expandable(free[order[at + 1]]) < _expandable(free[order[at]]):
            at += 1
        return free.pop(order.pop(at))

    def grow(self, size: int) -> _Block | None:
        """Return a free block of at least `size` bytes at the lowest address where pages can be mapped for it."""
        block = self._lowest(size)
        if not block.is_mapped and not self._map(block, min(block.size, size)):
            return None
        while block.size < size:
            gap = block.after
            assert gap is not None, "free memory is followed by addresses without pages, see _lowest"
            if not self._map(gap, min(gap.size, size - block.size)):
                return None
            block = gap
        self.remove(block)
        return block

    def release(self) -> None:
        """Give pages that lie whole in a free block back to the device."""
        for block in [self.free[key] for key in self.order]:
            begin = _rounded_up(block.address, self.page_bytes)
            end = (block.address + block.size) // self.page_bytes * self.page_bytes
            if begin < end:
                self.remove(block)
                self._unmap(block, begin, end)

    def _lowest(self, size: int) -> _Block:
        """Return where a row of free and unmapped blocks of `size` bytes begins that has an unmapped one."""
        for _, gap in sorted(self.unmapped.items()):
            first = gap.before if gap.before is not None and gap.before.is_free else gap
            room, block = 0, first
            while room < size and (block.is_free or not block.is_mapped):
                room += block.size
                if block.after is None:
                    break
                block = block.after
            if room >= size:
                return first
        # A new segment has addresses for an eighth more than the device has, and no memory yet.
        extent = _rounded_up(self.device.limit_bytes * 9 // 8, self.page_bytes)
        return self._gap(_Block(self.device.addresses(extent, self.page_bytes), extent, self.is_small))

    def _gap(self, block: _Block) -> _Block:
        block.is_free = block.is_mapped = False
        self.unmapped[block.address] = block
        return block

    def _map(self, gap: _Block, size: int) -> bool:
        """Put memory behind the first `size` bytes of a gap, in whole pages; false when the device is full."""
        mapped = _rounded_up(size, self.page_bytes)
        if not self.device.reserve(mapped):
            return False
        del self.unmapped[gap.address]
        if mapped < gap.size:
            self._gap(_Block(gap.address + mapped, gap.size - mapped, self.is_small, gap, gap.after))
        gap.size = mapped
        gap.is_mapped = True
        self.put_back(gap)
        return True

    def _unmap(self, block: _Block, begin: int, end: int) -> None:
        """Take the memory from behind a range of a free block; what is around it stays free."""
        self.device.reserved_bytes -= end - begin
        if block.address < begin:
            self.insert(_Block(block.address, begin - block.address, self.is_small, block.before, block))
        if end < block.address + block.size:
            self.insert(_Block(end, block.address + block.size - end, self.is_small, block, block.after))
        block.address, block.size = begin, end - begin
        for neighbour in (block.before, block.after):
            if neighbour is not None and not neighbour.is_mapped:
                del self.unmapped[neighbour.address]
                block.absorb(neighbour)
        if block.before is not None or block.after is not None:  # a segment without memory is given up
            self._gap(block)


def _rounded_up(size: int, to: int) -> int:
    return (size + to - 1) // to * to


def _expandable(block: _Block) -> int:
    return block.size + (block.after.size if block.after is not None and not block.after.is_mapped else 0)
