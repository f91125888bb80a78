"""Labels of many molecules in batches, each of them a call of a compiled program, on an accelerator.

Molecules of similar size form a group, padded to one shape, so that a whole job compiles a few programs. What
integrals in JAX cannot do goes the way of `bulk.solve_frames`.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import jax
import numpy as np

from jaxphys import dft
from jaxphys.data.bulk import (
    SHARE,
    Recipe,
    fail,
    failure_of,
    machine_memory,
    make_label,
    one_thread,
    solve_frames,
    state,
    unpad,
)
from jaxphys.data.frames import Failure, Frame
from jaxphys.data.label_file import Label

DENSEST = 0.5
"""The least part of a group's memory, and of its integrals, that each of its molecules would need alone."""

NEGLIGIBLE = (0.02, 1e5)
"""Memory in GB and combinations of primitives too small to deserve a program of their own."""

Outcome = tuple[str, Label | Failure]
_Found = dict[dft.SetupSizes, dict[str, Frame]]


@dataclass(frozen=True)
class Group:
    """Molecules of one padded shape, by key, and how many of them make a batch."""

    sizes: dft.SetupSizes
    frames: Mapping[str, Frame]
    batch: int


@dataclass(frozen=True)
class Plan:
    """Groups, smallest molecules first; molecules that are too large; and those for libcint."""

    groups: list[Group]
    too_large: dict[str, Failure]
    refused: dict[str, Frame]


def solve_batches(
    frames: Mapping[str, Frame], recipe: Recipe, *, memory: float | None = None
) -> Iterator[Outcome]:
    """Each molecule's label, or why there is none, under its key, about in the order of size.

    memory: what a batch may take, GB, by default a share of the device's. A molecule that needs more alone
    fails; so does one that does not converge, while its batch goes on. A batch for which the device has no
    memory all the same is halved. Core potentials and range-separated functionals are done with libcint, one
    molecule a core.
    """
    memory = device_memory() if memory is None else memory
    plan = plan_batches(frames, recipe, memory)
    yield from plan.too_large.items()
    refused = dict(plan.refused)
    for group in plan.groups:
        refused |= yield from _solve_group(group, recipe, memory)
    yield from solve_frames(refused, recipe)


def device_memory() -> float:
    """What batches take by default, GB: a share of the device's memory, or the machine's if it has no own."""
    limit = (jax.devices()[0].memory_stats() or {}).get("bytes_limit")
    return SHARE * limit / 1e9 if limit else machine_memory()


def plan_batches(frames: Mapping[str, Frame], recipe: Recipe, memory: float) -> Plan:
    """Groups of molecules in few shapes, none of which needs more than `memory` (GB), from elements alone."""
    closed: _Found = {}
    opened: _Found = {}
    too_large: dict[str, Failure] = {}
    refused: dict[str, Frame] = {}
    for key, frame in frames.items():
        method = {**state(frame), **asdict(recipe.method)}
        try:
            sizes = dft.expected_sizes(frame.molecule.numbers, **method)
        except Exception:  # of many kinds; the other way to a label can do it, or says why not
            refused[key] = frame
            continue
        try:
            _capacity(sizes.bucket(), recipe, memory, open_shell=frame.spin > 0)
        except ValueError as error:
            too_large[key] = failure_of(frame, error)
        else:
            (opened if frame.spin else closed).setdefault(sizes, {})[key] = frame
    groups = _groups(closed, recipe, memory, open_shell=False) + _groups(
        opened, recipe, memory, open_shell=True
    )
    return Plan(groups, too_large, refused)


def _groups(found: _Found, recipe: Recipe, memory: float, *, open_shell: bool) -> list[Group]:
    """First fit, from the largest on, as long as no molecule of a group is much smaller than its shape."""

    def cost(sizes: dft.SetupSizes) -> tuple[float, float]:
        needed = dft.memory_needed(sizes, xc=recipe.method.xc, open_shell=open_shell)
        return needed, float(sizes.combinations)

    ordered = sorted(
        ((cost(sizes.bucket()), sizes.bucket(), own) for sizes, own in found.items()),
        key=lambda item: item[0],
    )
    groups: list[tuple[dft.SetupSizes, tuple[float, ...], dict[str, Frame]]] = []
    for needed, sizes, frames in reversed(ordered):
        for index, (common, least, members) in enumerate(groups):
            union, smallest = common | sizes, tuple(map(min, least, needed))
            whole = cost(union)
            if whole[0] <= memory and all(map(_dense, whole, smallest, NEGLIGIBLE)):
                groups[index] = union, smallest, members | frames
                break
        else:
            groups.append((sizes, needed, frames))
    return [
        Group(sizes, members, _even(len(members), _capacity(sizes, recipe, memory, open_shell=open_shell)))
        for sizes, _, members in reversed(groups)
    ]


def _dense(whole: float, smallest: float, negligible: float) -> bool:
    return DENSEST * whole <= smallest + negligible


def _capacity(sizes: dft.SetupSizes, recipe: Recipe, memory: float, *, open_shell: bool) -> int:
    return dft.fitting_batch(sizes, memory, xc=recipe.method.xc, open_shell=open_shell)


def _even(number: int, capacity: int) -> int:
    """The size of batches, as few as the capacity allows, that leaves the last one nearly full."""
    return -(-number // -(-number // capacity))


@dataclass(frozen=True)
class _Ready:
    key: str
    frame: Frame
    setup: dft.Setup


def _solve_group(group: Group, recipe: Recipe, memory: float) -> Generator[Outcome, None, dict[str, Frame]]:
    """The outcomes of a group; returns those that `dft.setup` refuses.

    While the device does a batch, the setups of the next one are made; of others there are none.
    """
    frames, size = list(group.frames.items()), group.batch
    chunks = [frames[start : start + size] for start in range(0, len(frames), size)]
    refused: dict[str, Frame] = {}
    with ThreadPoolExecutor(1, initializer=one_thread) as pool:
        coming = pool.submit(_prepare, chunks[0], recipe)
        for following in [*chunks[1:], []]:
            ready, others = coming.result()
            coming = pool.submit(_prepare, following, recipe)
            refused |= others
            size = yield from _solve_within_memory(ready, group.sizes, size, recipe, memory)
    return refused


def _prepare(frames: list[tuple[str, Frame]], recipe: Recipe) -> tuple[list[_Ready], dict[str, Frame]]:
    """Setups, one for all geometries of a molecule; and the frames that have none."""
    known: dict[Any, dft.Setup] = {}
    ready, refused = [], {}
    for key, frame in frames:
        numbers, own = frame.molecule.numbers, state(frame)
        name = tuple(numbers.tolist()), *own.values()
        try:
            if name not in known:
                known[name] = dft.setup(numbers, **own, **asdict(recipe.method))
        except Exception:  # as above
            refused[key] = frame
        else:
            ready.append(_Ready(key, frame, known[name]))
    return ready, refused


def _solve_within_memory(
    ready: list[_Ready], sizes: dft.SetupSizes, size: int, recipe: Recipe, memory: float
) -> Generator[Outcome, None, int]:
    """The outcomes of molecules, `size` at a time or as many as the device can do; returns that number."""
    while ready:
        batch, rest = ready[:size], ready[size:]
        outcomes: list[Label | Failure]
        try:
            outcomes = _label_batch(batch, sizes, size, recipe)
        except Exception as error:  # XLA has many kinds: one must not end a night's run
            if not _out_of_memory(error):
                outcomes = [failure_of(one.frame, error) for one in batch]
            elif size > 1:
                size = -(-size // 2)
                continue
            else:
                outcomes = [fail(one.frame, _exhausted(memory)) for one in batch]
        yield from zip((one.key for one in batch), outcomes, strict=True)
        ready = rest
    return size


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)


def _exhausted(memory: float) -> str:
    return (
        f"the device has no memory left for this molecule alone, within the {memory:.3g} GB of --memory; end "
        "other programs on it, lower the grid level or take a smaller basis"
    )


def _label_batch(
    batch: list[_Ready], sizes: dft.SetupSizes, size: int, recipe: Recipe
) -> list[Label | Failure]:
    """The outcomes of one batch, filled up to `size` with copies."""
    started = time.perf_counter()
    filled = [*batch, *[batch[-1]] * (size - len(batch))]
    positions = np.zeros((size, sizes.atoms, 3))
    for own, one in zip(positions, filled, strict=True):
        own[: len(one.setup.numbers)] = one.frame.molecule.positions
    problem = jax.device_put((dft.stack_setups([one.setup for one in filled], sizes), positions))
    solutions, arrays = _solve(*problem, tolerance=recipe.tolerance, max_cycles=recipe.max_cycles)
    if recipe.forces:
        arrays["forces"] = _forces(*problem, solutions)
    found = jax.device_get((solutions, arrays))
    seconds = (time.perf_counter() - started) / len(batch)
    lanes = [jax.tree.map(lambda leaf, i=i: leaf[i], found) for i in range(len(batch))]
    return [
        _label(one, solution, padded, recipe, seconds)
        for one, (solution, padded) in zip(batch, lanes, strict=True)
    ]


# Not one program with the forces': that would take the memory of both.
@functools.partial(jax.jit, static_argnames=("tolerance", "max_cycles"))
def _solve(
    setups: dft.Setup, positions: Any, *, tolerance: float, max_cycles: int
) -> tuple[dft.SCFResult, dict[str, Any]]:
    """Solutions of a batch and what else labels take, compiled once for each group."""

    def one(setup: dft.Setup, positions: Any) -> tuple[dft.SCFResult, dict[str, Any]]:
        system = dft.assemble(setup, positions)
        result = dft.scf(system, tolerance=tolerance, max_cycles=max_cycles)
        return result, {"overlap": system.overlap, "dipole": dft.dipole(system, result.density)}

    return jax.vmap(one)(setups, positions)


_forces = jax.jit(jax.vmap(dft.assembled_forces))


def _label(
    one: _Ready, solution: dft.SCFResult, padded: dict[str, np.ndarray], recipe: Recipe, seconds: float
) -> Label | Failure:
    n, atoms = len(one.setup.orbital_mask), len(one.setup.numbers)
    arrays = {
        "numbers": one.frame.molecule.numbers,
        "positions": one.frame.molecule.positions,
        "overlap": padded["overlap"][:n, :n].copy(),  # a view would keep the whole batch
        "occupation": one.setup.occupation,
        "dipole": padded["dipole"].copy(),
    }
    if recipe.forces:
        arrays["forces"] = padded["forces"][:atoms].copy()
    return make_label(one.frame, recipe, unpad(solution, n), arrays, seconds)
