"""Common sizes of setups, and the memory of a batch of them against what XLA says."""

import jax
import numpy as np
import pytest
from conftest import COARSE
from molecules import FORMATE, METHANOL, WATER

from jaxphys import dft


def setup_of(molecule, **settings):
    numbers, _, charge = molecule
    return dft.setup(numbers, charge=charge, **(COARSE | {"xc": "b3lyp5"} | settings))


@pytest.mark.parametrize("basis", ["sto-3g", "def2-svp"])
@pytest.mark.parametrize(("molecule", "spin"), [(METHANOL, None), (FORMATE, None), (WATER, 2)])
def test_sizes_are_known_from_the_elements(basis, molecule, spin):
    numbers, _, charge = molecule
    method = COARSE | {"basis": basis, "xc": "pbe", "auxbasis": None}
    setup = dft.setup(numbers, charge=charge, spin=spin, **method)
    assert dft.expected_sizes(numbers, charge=charge, spin=spin, **method) == dft.setup_sizes(setup)


def test_stacks_have_the_sizes_given():
    setups = [setup_of(METHANOL), setup_of(WATER)]
    small, large = (dft.setup_sizes(setup) for setup in setups[::-1])
    either, alone = (small | large).bucket(), (small | small).bucket()
    assert either == large.bucket() == either.bucket() != alone
    shapes = [jax.tree.map(np.shape, dft.stack_setups([one], either)) for one in setups]
    assert shapes[0] == shapes[1]
    assert shapes[0] == jax.tree.map(np.shape, dft.stack_setups(setups[:1]))
    with pytest.raises(ValueError, match="cannot pad a setup of sizes"):
        dft.stack_setups(setups, alone)


def test_batches_fit_the_memory():
    setups = [setup_of(METHANOL), setup_of(WATER)]
    assert dft.batch_size(setups, 8.0) == pytest.approx(8 * dft.batch_size(setups, 1.0), abs=8)
    with pytest.raises(
        ValueError, match=r"more than the 0.0001 GB given; lower the grid level \(\d+ points\)"
    ):
        dft.batch_size(setups, 1e-4)


def test_what_makes_no_stack():
    with pytest.raises(ValueError, match="at least one setup, got none"):
        dft.stack_setups([])
    with pytest.raises(ValueError, match="must share the functional"):
        dft.stack_setups([setup_of(WATER), setup_of(WATER, xc="pbe")])


@pytest.mark.slow
@pytest.mark.parametrize(("xc", "spin", "level"), [("b3lyp5", None, 1), ("pbe", 2, 0), ("svwn", None, 3)])
def test_the_memory_is_that_of_the_program(xc, spin, level):
    setup = setup_of(METHANOL, xc=xc, spin=spin, basis="def2-svp", auxbasis=None, grid_level=level)
    sizes = dft.setup_sizes(setup).bucket()
    stack = dft.stack_setups([setup] * 2, sizes)

    def solve(setup, positions):
        return dft.scf(dft.assemble(setup, positions))

    positions = np.zeros((2, sizes.atoms, 3))
    solution = jax.eval_shape(jax.vmap(solve), stack, positions)

    def memory(function, *arguments):
        lowered = jax.jit(jax.vmap(function)).lower(*arguments)
        # it is settled before LLVM begins
        found = lowered.compile(compiler_options={"xla_backend_optimization_level": 0}).memory_analysis()
        return found.temp_size_in_bytes + found.argument_size_in_bytes + found.output_size_in_bytes

    # programs of their own, as the labels have them: in one they would take more
    total = max(memory(solve, stack, positions), memory(dft.assembled_forces, stack, positions, solution))
    stated = 2e9 * dft.memory_needed(sizes, xc=xc, open_shell=spin is not None)
    assert 0.6 * stated < total <= stated
