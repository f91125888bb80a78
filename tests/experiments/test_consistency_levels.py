"""Levels of theory of the consistency experiment, runs that must not mix them, and molecules of one's own."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments import consistency, consistency_data
from experiments.consistency import main, run
from experiments.consistency_data import make_structures
from experiments.consistency_evaluation import judge, reference_minima
from experiments.consistency_levels import B3LYP, GFN2, LEVELS, Level
from experiments.consistency_molecules import MOLECULES, smallest
from experiments.consistency_presets import ARMS, FIRST, PRESETS
from experiments.consistency_smiles import read_smiles
from jaxphys.data import parse_smiles, xtb_descents, xtb_energies
from jaxphys.models import DenoiserConfig
from jaxphys.training import Checkpoints, create_state

OTHER = Level(
    "GFN1-xTB",
    functools.partial(xtb_energies, method="GFN1-xTB"),
    functools.partial(xtb_descents, method="GFN1-xTB"),
    "other",
)


@pytest.fixture(autouse=True)
def other_level(monkeypatch):
    """A second cheap level; one process is enough for small molecules."""
    monkeypatch.setitem(LEVELS, OTHER.name, OTHER)
    monkeypatch.setattr(consistency_data, "PROCESSES", 1)


def other(**more):
    return dataclasses.replace(PRESETS["smoke"], level=OTHER.name, low_level="MMFF", **more)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("labels")


def save(folder, config):
    optimizer = optax.sgd(0.1)
    Checkpoints(folder, config).save(create_state({"w": jnp.zeros(2)}, optimizer, jax.random.key(0)))


def test_each_level_has_the_name_of_its_labels():
    assert LEVELS[GFN2.name] is GFN2 and LEVELS[B3LYP.name] is B3LYP
    assert B3LYP.energies.keywords == B3LYP.descents.keywords
    assert B3LYP.name == "B3LYP5/def2-SVP" and B3LYP.energies.keywords["method"].xc == "b3lyp5"


def test_presets_name_levels_and_arms():
    for preset in PRESETS.values():
        assert preset.level in LEVELS and "multitask" in preset.arms
        assert {*preset.arms} <= {*ARMS} & {*preset.stages}
    assert (PRESETS["quick"].level, PRESETS["quick"].low_level) == ("GFN2-xTB", "UFF")
    headline = PRESETS["b3lyp"]
    assert (headline.level, headline.low_level) == ("B3LYP5/def2-SVP", "MMFF")
    assert set(headline.smiles) < set(MOLECULES) and len(headline.smiles) > 5 * headline.test
    assert max(parse_smiles(text).GetNumHeavyAtoms() for text in headline.smiles) == 5
    assert smallest(("CCO", "c1cc[nH]c1", "C#N"), 2) == ("C#N",)


def test_structures_are_labelled_and_judged_by_the_preset_levels(cache):
    found = make_structures(other(), 0, cache=cache)
    usual = make_structures(PRESETS["smoke"], 0, cache=cache)
    for part, same in ((found["test"], usual["test"]), (found["train"], usual["train"])):
        assert (part.high.level, part.low.level) == ("GFN1-xTB", "MMFF")
        assert (same.high.level, same.low.level) == ("GFN2-xTB", "UFF")
        assert part.smiles == same.smiles
        # at a minimum of the force field its forces vanish
        assert np.abs(part.low[0].forces).max() < 1e-3 < np.abs(same.high[0].forces).max()
    (mol,), (start,) = found["test"].mols[:1], found["test"].positions[:1]
    (minimum,) = reference_minima([mol], 1, seed=0, level=OTHER, cache=cache, processes=1)
    own = judge([mol], [minimum], level=OTHER, cache=cache, processes=1).energy[0]
    elsewhere = judge([mol], [minimum], cache=cache, processes=1).energy[0]
    assert abs(own) < 0.01 < 0.05 < elsewhere
    assert judge([mol], [start[:1]], level=OTHER, cache=cache, processes=1).energy[0] > 0.05


def test_a_checkpoint_is_bound_to_levels_arms_and_molecules(cache, tmp_path):
    preset = other()
    roles = make_structures(preset, 0, cache=cache)
    model = DenoiserConfig(species=roles["train"].high.elements, **preset.model)

    def config(preset):
        return consistency._run_config("smoke", preset, model, roles, 0, False)

    save(tmp_path / FIRST, config(preset))
    Checkpoints(tmp_path / FIRST, config(preset)).validate(0)
    for name, more in {
        "level": {"level": GFN2.name},
        "structures": {"low_level": "UFF"},
        "arms": {"arms": ("multitask",)},
        "smiles": {"smiles": preset.smiles[::-1]},
    }.items():
        with pytest.raises(ValueError, match=name):
            Checkpoints(tmp_path / FIRST, config(dataclasses.replace(preset, **more))).validate(0)


def test_a_run_of_another_level_is_refused_before_any_label(tmp_path, monkeypatch, capsys):
    save(tmp_path / "run" / FIRST, {"level": "GFN2-xTB"})
    monkeypatch.setattr(consistency, "make_structures", lambda *args, **kwargs: pytest.fail("labels"))
    assert main(["--preset", "b3lyp", "--out", str(tmp_path / "run"), "--resume"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "trained on energies of GFN2-xTB, the preset has B3LYP5/def2-SVP" in error


def test_a_test_molecule_with_an_element_of_its_own_is_named(cache):
    preset = other(smiles=("CCl", "CBr", "CF"), test=1)
    with pytest.raises(
        ValueError, match=r"no training molecule has (Cl|Br|F), but C(Cl|Br|F), which is held"
    ):
        make_structures(preset, 0, cache=cache)


def test_a_file_of_smiles(tmp_path, capsys):
    path = tmp_path / "mine.smi"
    path.write_text(
        "\ufeff# mine\nCCO  # ethanol\n\nC#N\n  N#CC#C\nOCC\n[H]O[H]\r\nC[C@H](F)O\nC[C@@H](F)O\n"
    )
    found = read_smiles(path, "UFF")
    assert found == ("CCO", "C#N", "N#CC#C", "[H]O[H]", "C[C@H](F)O", "C[C@@H](F)O")
    assert capsys.readouterr().err == f"note: {path}, line 6: OCC is the molecule of line 2, left out\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("CC(", r"line 2: 'CC\(' is not a SMILES"),
        ("[CH3]", "line 2: .* 1 unpaired electron"),
        ("C.O", "line 2: 'C.O' has 2 fragments"),
        ("CCO ethanol", "line 2: 'CCO ethanol' is more than a SMILES"),
        ("C[Pt]C", r"line 2: MMFF has no parameters for every atom of '\[CH3\]\[Pt\]"),
        ("CN", "has 2 molecules, and the preset smoke holds 2 out of training: give at least 3"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(line, message, tmp_path, monkeypatch):
    monkeypatch.setitem(PRESETS, "smoke", other())
    path = tmp_path / "mine.smi"
    path.write_text(f"CO\n{line}\n")
    with pytest.raises(ValueError, match=rf"mine.smi[, ].*{message}") as error:
        run("smoke", seed=0, out=tmp_path / "run", resume=False, smiles=path)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_text_or_not_there(tmp_path, capsys):
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name, message in (("binary", "is not a text file of SMILES"), ("none", "No such file")):
        assert main(["--smiles", str(tmp_path / name), "--out", str(tmp_path / "run")]) == 2
        error = capsys.readouterr().err
        assert message in error and name in error and error.count("\n") == 1
