"""The CUDA caching allocator without a device.

Sequences by hand follow the rules stated in the module; `RECORDED` is what PyTorch's own allocator did.
"""

import re
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.dryrun import allocator as allocator_module
from advisor.dryrun.allocator import MIB, CachingAllocator, OutOfDeviceMemoryError, Peaks, replay
from advisor.errors import AdvisorError


def allocator_with(*sizes: int, **options):
    """An allocator with blocks 0, 1, 2 … of these sizes."""
    allocator = CachingAllocator(**options)
    for key, nbytes in enumerate(sizes):
        allocator.allocate(key, nbytes)
    return allocator


def mib(nbytes: int) -> float:
    return nbytes / MIB


@pytest.mark.parametrize(("asked", "given_"), [(1, 512), (511, 512), (512, 512), (513, 1024), (1000, 1024)])
def test_requests_are_rounded_up_to_512_bytes(asked, given_):
    allocator = allocator_with(asked)
    assert (allocator.allocated_bytes, allocator.requested_bytes) == (given_, asked)


def test_256_random_floats_take_1024_bytes_as_in_pytorchs_own_test():
    # test_memory_stats in test/test_cuda.py of pytorch/pytorch
    assert allocator_with(256 * 4).allocated_bytes == 1024


def test_zero_bytes_take_nothing():
    allocator = allocator_with(0)
    assert (allocator.allocated_bytes, allocator.reserved_bytes) == (0, 0)
    allocator.free(0)
    assert replay([(0, 0), (1, 512), (0, 0)]).allocated_bytes == 512


def test_a_key_in_use_or_a_negative_size_is_an_error():
    with pytest.raises(ValueError, match="the key is in use"):
        allocator_with(512).allocate(0, 512)
    with pytest.raises(ValueError, match="negative"):
        allocator_with(-512)


@pytest.mark.parametrize(
    ("asked", "segment_mib"),
    [
        (1, 2),
        (MIB, 2),
        (MIB + 1, 20),
        (10 * MIB - 512, 20),
        (10 * MIB - 511, 10),  # rounding comes first
        (10 * MIB, 10),
        (10 * MIB + 1, 12),
        (12 * MIB + 512, 14),
    ],
)
def test_the_size_of_a_segment_follows_from_the_request(asked, segment_mib):
    assert mib(allocator_with(asked).reserved_bytes) == segment_mib


def test_small_requests_share_segments_of_2_mib():
    assert mib(allocator_with(MIB, MIB).reserved_bytes) == 2
    assert mib(allocator_with(MIB, MIB, 1).reserved_bytes) == 4


def test_medium_requests_share_segments_of_20_mib():
    assert mib(allocator_with(9 * MIB, 9 * MIB, 2 * MIB).reserved_bytes) == 20
    assert mib(allocator_with(9 * MIB, 9 * MIB, 3 * MIB).reserved_bytes) == 40


def test_small_and_large_requests_never_share():
    allocator = allocator_with(2 * MIB)  # leaves 18 MiB of its segment
    allocator.allocate(1, 512)
    assert mib(allocator.reserved_bytes) == 22


def test_the_smallest_block_that_is_large_enough_is_taken():
    allocator = allocator_with(14 * MIB, 12 * MIB)
    allocator.free(0)
    allocator.free(1)
    allocator.allocate(2, 12 * MIB)
    allocator.allocate(3, 14 * MIB)
    assert mib(allocator.reserved_bytes) == 26


def test_among_equal_blocks_the_oldest_is_taken():
    allocator = allocator_with(MIB, MIB, MIB, MIB)  # two segments
    allocator.free(2)
    allocator.free(0)
    allocator.allocate(4, MIB)
    allocator.free(3)
    allocator.empty_cache()
    assert mib(allocator.reserved_bytes) == 2


def test_a_large_block_keeps_a_remainder_of_1_mib():
    allocator = allocator_with(11 * MIB)
    assert (mib(allocator.allocated_bytes), mib(allocator.requested_bytes)) == (12, 11)
    assert allocator_with(11 * MIB - 512).allocated_bytes == 11 * MIB - 512


def test_a_small_block_gives_512_bytes_away():
    allocator = allocator_with(MIB, MIB - 512, 512)
    assert (mib(allocator.allocated_bytes), mib(allocator.reserved_bytes)) == (2, 2)


def test_free_neighbours_merge_within_a_segment():
    allocator = allocator_with(6 * MIB, 6 * MIB, 6 * MIB)
    allocator.free(0)
    allocator.free(1)
    allocator.allocate(3, 12 * MIB)
    assert mib(allocator.reserved_bytes) == 20
    allocator.free(2)
    allocator.free(3)
    allocator.allocate(4, 20 * MIB)
    assert mib(allocator.reserved_bytes) == 20


def test_free_blocks_of_two_segments_do_not_merge():
    allocator = allocator_with(10 * MIB, 10 * MIB)
    allocator.free(0)
    allocator.free(1)
    allocator.allocate(2, 20 * MIB)
    assert mib(allocator.reserved_bytes) == 40


def test_freed_memory_stays_reserved_until_the_cache_is_emptied():
    allocator = allocator_with(30 * MIB, 512)
    allocator.free(0)
    assert (allocator.allocated_bytes, mib(allocator.reserved_bytes)) == (512, 32)
    allocator.empty_cache()
    assert mib(allocator.reserved_bytes) == 2


def test_a_segment_with_one_block_in_use_is_kept_whole():
    allocator = allocator_with(6 * MIB, 2 * MIB)
    allocator.free(0)
    allocator.empty_cache()
    assert mib(allocator.reserved_bytes) == 20


def test_peaks_stay_until_they_are_reset():
    allocator = allocator_with(30 * MIB, 700)
    allocator.free(0)
    peaks = Peaks(allocated_bytes=30 * MIB + 1024, reserved_bytes=32 * MIB, requested_bytes=30 * MIB + 700)
    assert allocator.peaks == peaks
    assert (allocator.peak_allocated_bytes, allocator.peak_reserved_bytes) == (30 * MIB + 1024, 32 * MIB)
    allocator.empty_cache()
    allocator.reset_peaks()
    assert allocator.peaks == Peaks(allocated_bytes=1024, reserved_bytes=2 * MIB, requested_bytes=700)


def test_cached_segments_make_room_before_memory_runs_out():
    allocator = allocator_with(30 * MIB, limit_bytes=40 * MIB)
    allocator.free(0)
    allocator.allocate(1, 40 * MIB)
    assert mib(allocator.peak_reserved_bytes) == 40


def test_running_out_of_memory_leaves_the_rest_as_it_was():
    allocator = allocator_with(30 * MIB, 512, limit_bytes=50 * MIB)
    with pytest.raises(OutOfDeviceMemoryError, match=r"0\.02 GiB asked for, 0\.03 in use and 0\.03 reserved of 0\.05"):
        allocator.allocate(2, 20 * MIB)
    assert (allocator.allocated_bytes, mib(allocator.reserved_bytes)) == (30 * MIB + 512, 32)
    allocator.free(0)
    allocator.allocate(2, 20 * MIB)
    assert mib(allocator.reserved_bytes) == 32
    assert issubclass(OutOfDeviceMemoryError, AdvisorError)


def test_a_fragmented_cache_runs_out_though_enough_is_free():
    # Every segment keeps one block in use: 36 MiB are free, none of them can be given back.
    blocks = [2 * MIB, 18 * MIB] * 2
    allocator = allocator_with(*blocks, limit_bytes=40 * MIB)
    assert mib(allocator.reserved_bytes) == 40
    allocator.free(1)
    allocator.free(3)
    with pytest.raises(OutOfDeviceMemoryError):
        allocator.allocate(4, 19 * MIB)


def test_half_of_the_memory_fits_once_as_in_pytorchs_own_test():
    # test_out_of_memory_retry in test/test_cuda.py of pytorch/pytorch; the context takes a part of the device
    total_bytes, context_bytes = 24 * 1024 * MIB, 300 * MIB
    allocator = allocator_with(total_bytes // 2, limit_bytes=total_bytes - context_bytes)
    with pytest.raises(OutOfDeviceMemoryError):
        allocator.allocate(1, total_bytes // 2)
    allocator.free(0)
    allocator.allocate(1, total_bytes // 2)
    with pytest.raises(OutOfDeviceMemoryError):
        replay([(0, total_bytes // 2), (1, total_bytes // 2)], limit_bytes=total_bytes - context_bytes)


def test_expandable_segments_grow_by_pages():
    allocator = allocator_with(30 * MIB, expandable_segments=True)
    assert mib(allocator.reserved_bytes) == 40
    allocator.allocate(1, 10 * MIB)
    assert mib(allocator.reserved_bytes) == 40
    allocator.allocate(2, 512)
    assert mib(allocator.reserved_bytes) == 42


def test_expandable_segments_split_off_512_bytes():
    allocator = allocator_with(11 * MIB, 9 * MIB - 512, expandable_segments=True)
    assert (allocator.allocated_bytes, mib(allocator.reserved_bytes)) == (20 * MIB - 512, 20)


def test_a_growing_request_extends_an_expandable_segment_and_replaces_a_fixed_one():
    events = [(key, nbytes) for key in range(5) for nbytes in ((20 + 10 * key) * MIB, 0)]
    assert mib(replay(events).reserved_bytes) == 20 + 30 + 40 + 50 + 60
    assert mib(replay(events, expandable_segments=True).reserved_bytes) == 60


def test_an_expandable_segment_gives_free_pages_back_and_fills_them_first():
    allocator = allocator_with(30 * MIB, 30 * MIB, expandable_segments=True)
    allocator.free(0)
    allocator.empty_cache()
    assert mib(allocator.reserved_bytes) == 40  # the second page is shared by both blocks
    allocator.allocate(2, 30 * MIB)
    assert mib(allocator.reserved_bytes) == 60


def test_an_expandable_segment_runs_out_at_the_limit():
    allocator = allocator_with(30 * MIB, limit_bytes=50 * MIB, expandable_segments=True)
    allocator.allocate(1, 10 * MIB)
    with pytest.raises(OutOfDeviceMemoryError):
        allocator.allocate(2, 2 * MIB)


def test_constants_are_those_of_the_installed_pytorch():
    header = Path(torch.__file__).parent / "include/c10/core/AllocatorConfig.h"
    if not header.exists() or "large_segment_size_" not in header.read_text():
        pytest.skip("this PyTorch ships no such header")
    numbers = dict(re.findall(r"(?:size_t|size_t>) (\w+)(?: = |\{)(\d+)", header.read_text()))
    ours = {
        "kMinBlockSize": "BLOCK_BYTES",
        "kSmallSize": "LARGEST_SMALL_BYTES",
        "kSmallBuffer": "SMALL_SEGMENT_BYTES",
        "kMinLargeAlloc": "LEAST_OWN_SEGMENT_BYTES",
        "large_segment_size_": "LARGE_SEGMENT_BYTES",
        "kRoundLarge": "ROUND_LARGE_BYTES",
    }
    assert {name: getattr(allocator_module, our) for name, our in ours.items()} == {
        name: int(numbers[name]) for name in ours
    }


def random_events(seed: int, n_events: int = 4000) -> list[tuple[int, int]]:
    """Allocations from bytes to 200 MiB and frees, about 60 blocks at once; key -1 empties the cache."""
    state = seed

    def draw(below: int) -> int:
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (state >> 33) % below

    events: list[tuple[int, int]] = []
    live: list[int] = []
    for key in range(n_events):
        if draw(400) == 0:
            events.append((-1, 0))
        elif draw(60 + len(live)) < 60:
            smallest, largest = ((1, 4096), (1, MIB), (MIB, 12 * MIB), (8 * MIB, 200 * MIB))[draw(4)]
            events.append((key, smallest + draw(largest - smallest + 1)))
            live.append(key)
        else:
            events.append((live.pop(-1 if draw(2) else draw(len(live))), 0))
    return events


def outcome(events: list[tuple[int, int]], limit_bytes: int, expandable_segments: bool) -> tuple[int, ...]:
    """Allocated and reserved at the end, the three peaks, and how many requests failed."""
    allocator = CachingAllocator(limit_bytes=limit_bytes, expandable_segments=expandable_segments)
    n_failed = 0
    for key, nbytes in events:
        if key == -1:
            allocator.empty_cache()
        elif nbytes:
            try:
                allocator.allocate(key, nbytes)
            except OutOfDeviceMemoryError:
                n_failed += 1
        else:
            allocator.free(key)
    peaks = allocator.peaks
    now = (allocator.allocated_bytes, allocator.reserved_bytes)
    return (*now, peaks.allocated_bytes, peaks.reserved_bytes, peaks.requested_bytes, n_failed)


# Seed, limit in MiB (a TiB is never reached), expandable segments: outcome. From the allocator of PyTorch 2.13.0, which
# is `libc10_cuda.so` of its CUDA 13 wheel, called for the same events with a `libcudart` that counts bytes only.
RECORDED = {
    (1, 1048576, False): (1_300_604_928, 2_220_883_968, 3_500_760_576, 4_133_486_592, 3_495_890_652, 0),
    (1, 1048576, True): (1_298_926_592, 1_709_178_880, 3_495_909_376, 3_745_513_472, 3_495_890_652, 0),
    (1, 3072, False): (1_301_099_008, 1_946_157_056, 2_829_237_248, 3_208_642_560, 2_825_396_821, 5),
    (1, 3072, True): (1_298_926_592, 1_688_207_360, 3_065_028_096, 3_219_128_320, 3_065_010_667, 3),
    (1, 900, False): (656_334_336, 897_581_056, 930_849_792, 943_718_400, 926_789_561, 251),
    (1, 900, True): (500_449_792, 807_403_520, 897_475_584, 937_426_944, 897_460_456, 257),
    (2, 1048576, False): (1_888_278_016, 3_401_580_544, 3_211_282_432, 4_385_144_832, 3_206_837_536, 0),
    (2, 1048576, True): (1_885_392_896, 2_636_120_064, 3_206_857_216, 3_537_895_424, 3_206_837_536, 0),
    (2, 3072, False): (1_888_399_360, 3_009_413_120, 2_789_990_400, 3_196_059_648, 2_784_586_423, 7),
    (2, 3072, True): (1_885_392_896, 2_761_949_184, 3_049_061_376, 3_221_225_472, 3_049_041_972, 1),
    (2, 900, False): (691_021_312, 891_289_600, 891_500_032, 943_718_400, 889_692_942, 256),
    (2, 900, True): (753_552_384, 872_415_232, 894_494_208, 937_426_944, 894_484_372, 270),
    (3, 1048576, False): (1_723_478_528, 3_906_994_176, 3_338_994_688, 4_263_510_016, 3_331_824_315, 0),
    (3, 1048576, True): (1_720_665_088, 3_139_436_544, 3_331_844_608, 3_621_781_504, 3_331_824_315, 0),
    (3, 3072, False): (1_722_788_864, 2_799_697_920, 2_835_179_520, 3_210_739_712, 2_828_848_299, 18),
    (3, 3072, True): (1_720_665_088, 3_032_481_792, 3_078_832_640, 3_221_225_472, 3_078_817_393, 10),
    (3, 900, False): (490_491_392, 903_872_512, 914_684_928, 943_718_400, 911_672_656, 289),
    (3, 900, True): (750_320_640, 893_386_752, 918_588_416, 939_524_096, 918_580_099, 312),
}


@pytest.mark.parametrize(("seed", "limit_mib", "expandable"), RECORDED)
def test_a_random_trace_ends_as_it_did_with_pytorchs_own_allocator(seed, limit_mib, expandable):
    found = outcome(random_events(seed), limit_mib * MIB, expandable)
    assert found == RECORDED[seed, limit_mib, expandable]


def blocks_by_segment(allocator: CachingAllocator) -> list[list]:
    """Every segment as its blocks in order of address."""
    pools = (allocator._small, allocator._large)
    gaps = [gap for pool in pools for gap in getattr(pool, "unmapped", {}).values()]
    blocks = [*allocator._live.values(), *(block for pool in pools for block in pool.free.values()), *gaps]
    segments = []
    for head in (block for block in blocks if block.before is None):
        segment = [head]
        while segment[-1].after is not None:
            segment.append(segment[-1].after)
        segments.append(segment)
    assert sorted(map(id, blocks)) == sorted(id(block) for segment in segments for block in segment)
    return segments


def check_consistent(allocator: CachingAllocator) -> None:
    """Blocks tile their segments without gap or overlap, and the counters are their sums."""
    segments = blocks_by_segment(allocator)
    for segment in segments:
        for left, right in pairwise(segment):
            assert left.address + left.size == right.address
            assert not (left.is_free and right.is_free)
    mapped = [block for segment in segments for block in segment if block.is_mapped]
    assert sum(block.size for block in mapped) == allocator.reserved_bytes
    assert sum(block.size for block in mapped if not block.is_free) == allocator.allocated_bytes
    assert allocator.requested_bytes <= allocator.allocated_bytes <= allocator.reserved_bytes
    assert allocator.peaks.allocated_bytes >= allocator.allocated_bytes
    assert allocator.peaks.reserved_bytes >= max(allocator.reserved_bytes, allocator.peaks.allocated_bytes)


nbytes_drawn = st.one_of(
    st.integers(1, 5000),
    st.integers(1, 30 * MIB),
    st.sampled_from([MIB, MIB + 1, 10 * MIB, 10 * MIB - 512, 20 * MIB, 21 * MIB]),
)


@settings(max_examples=150, deadline=None)
@given(
    steps=st.lists(st.one_of(nbytes_drawn, st.integers(-30, 0)), max_size=60),
    limit_bytes=st.sampled_from([64 * MIB, 2**60]),
    expandable=st.booleans(),
)
def test_blocks_tile_their_segments_whatever_happens(steps, limit_bytes, expandable):
    allocator = CachingAllocator(limit_bytes=limit_bytes, expandable_segments=expandable)
    live: list[int] = []
    for key, step in enumerate(steps):
        if step > 0:
            try:
                allocator.allocate(key, step)
                live.append(key)
            except OutOfDeviceMemoryError:
                assert allocator.reserved_bytes + step > limit_bytes - 20 * MIB
        elif step == 0:
            allocator.empty_cache()
        elif live:
            allocator.free(live.pop(step % len(live)))
        check_consistent(allocator)
    for key in live:
        allocator.free(key)
    allocator.empty_cache()
    assert (allocator.allocated_bytes, allocator.requested_bytes, allocator.reserved_bytes) == (0, 0, 0)
    assert not any(block.is_mapped for segment in blocks_by_segment(allocator) for block in segment)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), expandable=st.booleans())
def test_a_trace_gives_the_same_peaks_every_time(seed, expandable):
    events = [event for event in random_events(seed, 300) if event[0] >= 0]
    first = replay(events, expandable_segments=expandable)
    assert first == replay(events, expandable_segments=expandable)
    assert first.requested_bytes <= first.allocated_bytes <= first.reserved_bytes
