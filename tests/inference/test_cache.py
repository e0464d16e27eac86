from __future__ import annotations

import random

import pytest
import torch

from kosmos.errors import UsageError
from kosmos.inference.cache import SlotPool


def write(pool: SlotPool, handles: list[int], num_tokens: int, value: float) -> None:
    """One step that appends `num_tokens` columns of `value` + slot order to two layers."""
    ordered = pool.arrange(handles)
    starts = [pool.length(handle) for handle in ordered]
    uniform = starts[0] if len(set(starts)) == 1 else None
    with torch.inference_mode():
        step = pool.step(ordered, num_tokens, torch.tensor(starts), uniform)
        for layer in range(2):
            new = torch.full((len(ordered), 2, num_tokens, 4), value) + torch.tensor(ordered).view(-1, 1, 1, 1) / 100
            step.extend(layer, new + layer, -(new + layer))
    for handle, start in zip(ordered, starts):
        pool.set_length(handle, start + num_tokens)


def content(pool: SlotPool, handle: int) -> list[float]:
    """The keys of layer 0 that count, one number a column; values and layer 1 are checked to agree."""
    like = torch.zeros(1, 2, 1, 4)
    slot, length = pool._slots[handle], pool.length(handle)
    keys, values = (buffer[slot, :, :length] for buffer in pool.buffers(0, like))
    deeper, _ = (buffer[slot, :, :length] for buffer in pool.buffers(1, like))
    assert torch.equal(keys, -values)
    assert torch.equal(deeper, keys + 1)
    assert torch.equal(keys, keys[:1, :, :1].expand_as(keys))
    return [round(x, 4) for x in keys[0, :, 0].tolist()]


def test_columns_survive_growth_moves_and_neighbours() -> None:
    """A random history of writes, forks, releases and regroupings, against plain lists."""
    pool = SlotPool(max_slots=12)
    generator = random.Random(0)
    wanted: dict[int, list[float]] = {}
    for turn in range(200):
        action = generator.random()
        if action < 0.25 and pool.num_free:
            wanted |= {handle: [] for handle in pool.acquire(generator.randint(1, min(3, pool.num_free)))}
        elif action < 0.4 and wanted:
            handle = generator.choice(list(wanted))
            pool.release(handle)
            del wanted[handle]
        elif action < 0.5 and wanted and pool.num_free:
            source = generator.choice(list(wanted))
            wanted[pool.copy(source)] = list(wanted[source])
        elif wanted:
            handles = generator.sample(list(wanted), generator.randint(1, len(wanted)))
            num_tokens = generator.randint(1, 3)
            write(pool, handles, num_tokens, float(turn))
            for handle in handles:
                wanted[handle] += [round(turn + handle / 100, 4)] * num_tokens
        # Layer 1 is made by the first write.
        if pool._keys:
            assert {handle: content(pool, handle) for handle in wanted} == wanted


def test_a_step_over_any_slots_reads_views() -> None:
    pool = SlotPool(max_slots=8)
    handles = pool.acquire(6)
    write(pool, handles, 3, 1.0)
    chosen = pool.arrange([handles[5], handles[0], handles[3]])
    assert sorted(chosen) == sorted([handles[0], handles[3], handles[5]])
    with torch.inference_mode():
        new = torch.zeros(3, 2, 1, 4)
        keys, _ = pool.step(chosen, 1, torch.full((3,), 3), 3).extend(0, new, new)
    assert keys.shape == (3, 2, 4, 4)
    assert keys.untyped_storage().data_ptr() == pool._keys[0].untyped_storage().data_ptr()


def test_masks_hide_what_lies_behind_each_row() -> None:
    pool = SlotPool(max_slots=4)
    handles = pool.acquire(2)
    step = pool.step(handles, 2, torch.tensor([0, 3]), None)
    assert step.positions(2).tolist() == [[0, 1], [3, 4]]
    mask = step.mask(2)
    assert mask is not None
    assert mask[:, 0].int().tolist() == [[[1, 0, 0, 0, 0], [1, 1, 0, 0, 0]], [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]]
    assert pool.step(handles, 1, torch.tensor([3, 3]), 3).mask(1) is None


def test_buffers_grow_by_powers_of_two_and_are_given_up() -> None:
    pool = SlotPool(max_slots=6)
    handles = pool.acquire(3)
    write(pool, handles, 5, 1.0)
    assert pool._keys[0].shape == (4, 2, 8, 4)
    handles += pool.acquire(3)
    write(pool, handles[3:], 9, 1.0)
    assert pool._keys[0].shape == (6, 2, 16, 4)  # never more slots than allowed
    with pytest.raises(UsageError, match="still holds 6 prefixes"):
        pool.clear()
    for handle in handles:
        pool.release(handle)
        pool.release(handle)
    assert pool.num_bytes == 2 * 2 * 6 * 2 * 16 * 4 * 4
    pool.clear()
    assert (pool.num_free, pool.num_bytes) == (6, 0)


def test_a_full_pool_says_what_to_do() -> None:
    pool = SlotPool(max_slots=2)
    pool.acquire(2)
    with pytest.raises(UsageError, match="2 of the engine's 2 slots are in use.*free\\(\\)"):
        pool.acquire(1)


class Memory:
    """Stands for an allocator of limited size: refuses buffers of more than `limit` slots x columns."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.limit = 10**9
        self.left = 10**9  # buffers that may be made anew before it refuses all
        grown = SlotPool._grown

        def checked(pool: SlotPool, held: torch.Tensor, slots: int) -> torch.Tensor:
            self.left -= 1
            if self.left < 0 or slots * pool.length_capacity > self.limit:
                raise MemoryError
            return grown(pool, held, slots)

        monkeypatch.setattr(SlotPool, "_grown", checked)


def test_what_did_not_fit_is_not_wanted_any_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while other prompts are held, whose next steps must not ask for it again."""
    memory = Memory(monkeypatch)
    pool = SlotPool(max_slots=8)
    (held,) = pool.acquire(1)
    write(pool, [held], 3, 1.0)
    memory.limit = 4 * 16
    others = pool.acquire(5)
    with pytest.raises(MemoryError):
        write(pool, others, 9, 2.0)
    for handle in others:
        pool.release(handle)
    write(pool, [held], 1, 1.0)
    assert content(pool, held) == [1.0] * 4
    others = pool.acquire(2)
    write(pool, others, 9, 2.0)
    assert content(pool, held) == [1.0] * 4
    for handle in others:
        pool.release(handle)
    pool.shrink()
    assert pool._keys[0].shape == pool._values[1].shape == (1, 2, 4, 4)
    assert content(pool, held) == [1.0] * 4
    pool.release(held)
    pool.shrink()
    assert (pool.num_free, pool.num_bytes) == (8, 0)


@pytest.mark.parametrize("left", range(4))
def test_a_first_pass_that_did_not_fit_is_forgotten(monkeypatch: pytest.MonkeyPatch, left: int) -> None:
    memory = Memory(monkeypatch)
    pool = SlotPool(max_slots=4)
    handles = pool.acquire(3)
    memory.left = left
    with pytest.raises(MemoryError):
        write(pool, handles, 9, 1.0)
    for handle in handles:
        pool.release(handle)
    memory.left, memory.limit = 10**9, 8
    (handle,) = pool.acquire(1)
    write(pool, [handle], 5, 2.0)
    assert content(pool, handle) == [2.03] * 5  # the value and a hundredth of the handle


@pytest.mark.parametrize("left", range(4))
def test_moves_are_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch, left: int) -> None:
    """A copy for which memory does not suffice in the midst of the layers takes no slot and changes no content."""
    memory = Memory(monkeypatch)
    pool = SlotPool(max_slots=8)
    handles = pool.acquire(2)
    for value, handle in enumerate(handles):
        write(pool, [handle], 3, float(value))
    memory.left = left
    with pytest.raises(MemoryError):
        pool.copy(handles[0])
    assert pool.num_free == 6
    memory.left = 10**9
    assert [content(pool, handle) for handle in handles] == [[0.0] * 3, [1.01] * 3]
    assert content(pool, pool.copy(handles[1])) == [1.01] * 3


def test_rows_change_places_in_all_layers_or_in_none(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = SlotPool(max_slots=4)
    handles = pool.acquire(4)
    for value, handle in enumerate(handles):
        write(pool, [handle], 2, float(value))
    empty = torch.Tensor.new_empty

    def refuse(*args: object, **options: object) -> torch.Tensor:
        raise MemoryError

    monkeypatch.setattr(torch.Tensor, "new_empty", refuse)
    with pytest.raises(MemoryError):
        pool.arrange([handles[0], handles[3]])
    monkeypatch.setattr(torch.Tensor, "new_empty", empty)
    assert [content(pool, handle)[0] for handle in handles] == [0.0, 1.01, 2.02, 3.03]
    pool.arrange([handles[0], handles[3]])
    assert [content(pool, handle)[0] for handle in handles] == [0.0, 1.01, 2.02, 3.03]
