"""The slot pool: key-value buffers per layer, shared by all prefixes of one engine.

A slot is one row of every layer's buffers [slots, H, length, d]. Callers hold opaque handles, never slot numbers, so
the pool may move rows: a step always runs over neighbouring slots and reads the buffers as views, without a gather.
Columns beyond a handle's length are scratch: a decode writes there and is undone by keeping the length as it was.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from kosmos.errors import UsageError


class SlotPool:
    """Hands out slots and grows the buffers by powers of two, up to `max_slots`.

    `dtype` of the buffers; by default that of the first keys they are given.
    """

    def __init__(self, max_slots: int, dtype: torch.dtype | None = None) -> None:
        self.max_slots = max_slots
        self._dtype = dtype
        self._owners: list[int | None] = []  # slot -> handle
        self._slots: dict[int, int] = {}  # handle -> slot
        self._lengths: dict[int, int] = {}  # handle -> tokens that count
        self._extents: dict[int, int] = {}  # handle -> columns written, scratch included
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []
        self._length_capacity = 0
        self._reserved = (0, 0)  # slots and columns that every layer made so far has
        self._next_handle = 0
        self._dropped: deque[int] = deque()  # handles to be released when the pool is at rest
        self._moves = 0  # how often a buffer was made anew

    @property
    def num_free(self) -> int:
        self._release_dropped()
        return self.max_slots - len(self._slots)

    @property
    def num_bytes(self) -> int:
        """Memory held by the buffers."""
        return sum(buffer.numel() * buffer.element_size() for buffer in (*self._keys, *self._values))

    def check_room(self, count: int) -> None:
        """Raises UsageError when fewer than `count` slots are free."""
        if count > self.num_free:
            more = "1 more prompt does" if count == 1 else f"{count} more prompts do"
            raise UsageError(
                f"{more} not fit: {len(self._slots)} of the engine's {self.max_slots} slots are in "
                "use; free() prefixes that are done, or build the engine with more max_slots"
            )

    def acquire(self, count: int) -> list[int]:
        """`count` new handles of length 0. Raises UsageError when the pool has fewer free slots."""
        self.check_room(count)
        if not self._slots:  # what a first pass wanted and did not get is wanted no more
            held = (*self._keys, *self._values)
            self._length_capacity, self._reserved = min((buffer.shape[2] for buffer in held), default=0), (0, 0)
        handles = []
        slot = 0
        for _ in range(count):
            while slot < len(self._owners) and self._owners[slot] is not None:
                slot += 1
            if slot == len(self._owners):
                self._owners.append(None)
            handle = self._next_handle
            self._next_handle += 1
            self._owners[slot] = handle
            self._slots[handle] = slot
            self._lengths[handle] = self._extents[handle] = 0
            handles.append(handle)
        return handles

    def release(self, handle: int) -> None:
        """Give a slot back; releasing twice is harmless."""
        slot = self._slots.pop(handle, None)
        if slot is not None:
            self._owners[slot] = None
            del self._lengths[handle], self._extents[handle]
            while self._owners and self._owners[-1] is None:
                self._owners.pop()

    def drop(self, handle: int) -> None:
        """As `release`, but at the next request for slots: a garbage collector may call this in the midst of a move."""
        self._dropped.append(handle)

    def _release_dropped(self) -> None:
        while self._dropped:
            self.release(self._dropped.popleft())

    def length(self, handle: int) -> int:
        return self._lengths[handle]

    def set_length(self, handle: int, length: int) -> None:
        """Declare the first `length` columns as the content; the rest becomes scratch."""
        self._lengths[handle] = length

    def copy(self, handle: int) -> int:
        """A new handle with the same content (an exact copy of the columns that count)."""
        copied = self.acquire(1)[0]
        length = self._lengths[handle]
        try:
            self._move([self._slots[handle]], [self._slots[copied]], length)
        except BaseException:
            self.release(copied)
            raise
        self._lengths[copied] = self._extents[copied] = length
        return copied

    def copy_columns(self, handle: int, targets: Sequence[int]) -> None:
        """Give `targets` the content of `handle`, in place of their own."""
        length = self._lengths[handle]
        slots = [self._slots[target] for target in targets]
        self._move([self._slots[handle]] * len(slots), slots, length)
        for target in targets:
            self._lengths[target] = length
            self._extents[target] = max(self._extents[target], length)

    def arrange(self, handles: Sequence[int]) -> list[int]:
        """The handles in slot order, after moving as few rows as make their slots neighbours."""
        ordered = sorted(handles, key=self._slots.__getitem__)
        first, count = self._slots[ordered[0]], len(ordered)
        if self._slots[ordered[-1]] == first + count - 1:
            return ordered
        wanted = set(handles)
        holes = [slot for slot in range(first, first + count) if self._owners[slot] not in wanted]
        movers = [self._slots[handle] for handle in ordered if self._slots[handle] >= first + count]
        evicted = [(self._owners[hole], mover) for hole, mover in zip(holes, movers) if self._owners[hole] is not None]
        moved = [self._owners[mover] for mover in movers]
        extent = max(self._extents[h] for h in (*moved, *(owner for owner, _ in evicted)) if h is not None)
        sources = movers + [self._slots[owner] for owner, _ in evicted if owner is not None]
        targets = holes + [mover for _, mover in evicted]
        self._move(sources, targets, extent)
        for mover in movers:
            self._owners[mover] = None
        for slot, owner in (*zip(holes, moved), *((mover, owner) for owner, mover in evicted)):
            assert owner is not None
            self._owners[slot], self._slots[owner] = owner, slot
        return sorted(handles, key=self._slots.__getitem__)

    def step(self, handles: Sequence[int], num_tokens: int, starts: Tensor, uniform: int | None) -> Step:
        """A step of `num_tokens` columns for neighbouring handles in slot order (see `arrange`).

        starts [B]: the column each row writes first; `uniform` is that column when all rows share it.
        """
        first = self._slots[handles[0]]
        width = num_tokens + (int(starts.max()) if uniform is None else uniform)
        self._reserve(width)
        for handle in handles:
            self._extents[handle] = max(self._extents[handle], width)
        return Step(self, first, len(handles), num_tokens, width, starts, uniform)

    @property
    def length_capacity(self) -> int:
        """Columns that the buffers have, or will have at the next write."""
        return self._length_capacity

    def _reserve(self, length: int) -> None:
        """Room for so many columns in every layer; nothing more is wanted than before when memory does not suffice."""
        before = self._length_capacity
        self._length_capacity = max(before, _power_of_two(length))
        if self._reserved != (self._num_wanted, self._length_capacity):
            try:
                self.settle()
            except BaseException:
                self._length_capacity = before
                raise
            self._reserved = self._num_wanted, self._length_capacity

    @property
    def _num_wanted(self) -> int:
        return min(_power_of_two(len(self._owners)), self.max_slots)

    @torch.inference_mode()  # the buffers are made in inference mode, and only there may be written
    def settle(self) -> int:
        """Grow every layer's buffers to what is wanted now; a number that changes whenever one of them has moved."""
        for layer in range(len(self._keys)):
            self.buffers(layer, self._keys[layer])
        return self._moves

    @torch.inference_mode()
    def shrink(self) -> None:
        """Drop what the handles that are out do not need; everything when there are none."""
        self._release_dropped()
        if not self._slots:
            self.clear()
            return
        slots, length = self._num_wanted, _power_of_two(max(self._extents.values()))
        for buffers in (self._keys, self._values):
            for layer, held in enumerate(buffers):
                if held.shape[0] > slots or held.shape[2] > length:
                    buffers[layer] = held[:slots, :, :length].clone()
                    self._moves += 1
        self._length_capacity, self._reserved = length, (0, 0)

    def clear(self) -> None:
        """Drop the buffers. Raises UsageError while a handle is out."""
        self._release_dropped()
        if self._slots:
            raise UsageError(f"the engine still holds {len(self._slots)} prefixes; free() them before clear()")
        self._keys, self._values, self._owners, self._length_capacity, self._reserved = [], [], [], 0, (0, 0)

    def buffers(self, layer: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of a layer, [slots, H, length, d] at full capacity, allocated like `like` [B, H, T, d]."""
        while layer >= len(self._keys):
            for buffers in (self._keys, self._values):
                buffers.append(like.new_zeros(0, like.shape[1], 0, like.shape[3], dtype=self._dtype or like.dtype))
        slots = self._num_wanted
        for held in (self._keys, self._values):  # each looked at: memory may have sufficed for the keys alone
            if held[layer].shape[0] < slots or held[layer].shape[2] < self._length_capacity:
                self._moves += 1
                held[layer] = self._grown(held[layer], slots)
        return self._keys[layer], self._values[layer]

    def _grown(self, held: Tensor, slots: int) -> Tensor:
        # Zeros, not empty: a masked column still meets the softmax's zero weight, and 0 * NaN is NaN.
        shape = (max(held.shape[0], slots), held.shape[1], max(held.shape[2], self._length_capacity), held.shape[3])
        grown = held.new_zeros(shape)
        grown[: held.shape[0], :, : held.shape[2]] = held
        return grown

    @torch.inference_mode()
    def _move(self, sources: list[int], targets: list[int], extent: int) -> None:
        self.settle()
        if not self._keys:
            return
        # All memory is taken before the first row is written: half of the layers moved would be other prompts' content.
        device, (_, heads, _, size) = self._keys[0].device, self._keys[0].shape
        extent = min(extent, min(held.shape[2] for held in self._keys))
        rows = self._keys[0].new_empty(len(sources), heads, extent, size)
        origins, places = (torch.tensor(slots, device=device) for slots in (sources, targets))
        for held in (*self._keys, *self._values):
            columns = held[:, :, :extent]
            torch.index_select(columns, 0, origins, out=rows)
            columns.index_copy_(0, places, rows)


class Step:
    """One forward pass over neighbouring slots: what the model sees as its KeyValueCache."""

    def __init__(
        self, pool: SlotPool, first: int, rows: int, num_tokens: int, width: int, starts: Tensor, uniform: int | None
    ) -> None:
        self.pool = pool
        self.first = first
        self._span = slice(first, first + rows)
        self._width = width
        self._uniform = uniform
        self._columns = starts[:, None] + torch.arange(num_tokens, device=starts.device)  # [B, T]
        self._rows: Tensor | None = None
        if uniform is None:
            self._rows = torch.arange(first, first + rows, device=starts.device)[:, None]
        self._positions: Tensor = self._columns
        self._mask: Tensor | None = None

    def override(self, positions: Tensor, mask: Tensor | None = None) -> Step:
        """Positions [B, T] other than the columns written, and who sees which column, bool [B, T, S]."""
        self._positions = positions
        self._mask = None if mask is None else mask[:, None]
        return self

    @property
    def width(self) -> int:
        """S, the number of columns that keys and values have in this step."""
        return self._width

    @property
    def columns(self) -> Tensor:
        """The columns written, int64 [B, T]."""
        return self._columns

    def positions(self, num_tokens: int) -> Tensor:
        """Positions of the new tokens, int64 [B, T]."""
        assert num_tokens == self._columns.shape[1]
        return self._positions

    def mask(self, num_tokens: int) -> Tensor | None:
        """Bool [B, 1, T, S]: True where a token may attend to a column; None when it may attend to all."""
        if self._mask is None and (num_tokens > 1 or self._uniform is None):
            seen = torch.arange(self._width, device=self._columns.device)
            self._mask = (seen <= self._columns[:, :, None])[:, None]
        return self._mask

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write the new keys and values [B, H, T, d]; return all of these rows, [B, H, S, d]."""
        held_keys, held_values = self.pool.buffers(layer, keys)
        if self._uniform is not None:
            columns = slice(self._uniform, self._width)
            held_keys[self._span, :, columns] = keys
            held_values[self._span, :, columns] = values
        else:
            held_keys[self._rows, :, self._columns] = keys.transpose(1, 2)
            held_values[self._rows, :, self._columns] = values.transpose(1, 2)
        all_keys, all_values = held_keys[self._span, :, : self._width], held_values[self._span, :, : self._width]
        if held_keys.dtype != keys.dtype:  # the prompt is read in another precision than what follows it
            return all_keys.to(keys.dtype), all_values.to(keys.dtype)
        return all_keys, all_values


def _power_of_two(count: int) -> int:
    return 1 << max(count - 1, 0).bit_length()
