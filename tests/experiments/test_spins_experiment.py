"""The experiment on spins, end to end in miniature: what it leaves, prediction, seeds together, errors."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from experiments import spins
from experiments.spins_data import TEST, TRAIN, VALIDATION, Solved, folder_sets, in_gauge, random_set
from experiments.spins_evaluation import by_annealing, evaluate
from experiments.spins_predict import load_model, predict_spins
from experiments.spins_presets import ARMS, PRESETS
from experiments.spins_report import combine
from experiments.spins_training import LAWS, Settings, arm_loss, initial_params, model_config
from jaxphys.data import from_lattice, ground_states, random_lattices
from jaxphys.report import format_number
from jaxphys.training import load_params

# arms of either gauge, few of them: each takes a second to compile
PAIRS = [(0, 1), (0, 2), (1, 2)]
TRAINED = ("cross-entropy", "local", "true-strongest")
TINY = dataclasses.replace(
    PRESETS["smoke"],
    test={4: 4},
    drawn=4,
    sweeps=(5,),
    stages={arm: PRESETS["smoke"].stages[arm] for arm in TRAINED},
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two lattices in files, one with its energy."""
    folder = tmp_path_factory.mktemp("couplings")
    right, down = random_lattices(2, 4, 5, seed=3)
    for k in range(2):
        glass = from_lattice(right[k], down[k])
        bonds = zip(glass.senders + 1, glass.receivers + 1, glass.couplings.tolist(), strict=True)
        lines = [
            f"{glass.spins} {len(glass.couplings)}",
            *(f"{i} {j} {coupling}" for i, j, coupling in bonds),
        ]
        (folder / f"glass{k}.txt").write_text("\n".join(lines))
    energy = ground_states(right, down)[1][0]
    (folder / "exact.json").write_text(json.dumps({"instances": {"glass0": {"E0": energy}}}))
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory, folder):
    """One whole run of the miniature preset."""
    out = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "smoke", TINY)
        assert spins.main(["--preset", "smoke", "--data", str(folder), "--out", str(out)]) == 0
    return out


def test_a_run_leaves_tables_plots_results_and_checkpoints(finished, folder):
    table = (finished / "table.md").read_text()
    assert all(ARMS[arm].name in table for arm in TRAINED)
    assert "annealing, 5 sweeps" in table and "Gap below that of cross-entropy" in table
    results = json.loads((finished / "results.json").read_text())["results"]
    for found in results.values():
        assert list(found["sets"]) == ["4×4", f"{folder.name} 4×5"]
        for one in found["sets"].values():
            assert 0 <= one["descended"]["gap"] <= one["direct"]["gap"]
    for picture in ("gap.png", "loss.png", "lattice.png"):
        assert (finished / picture).stat().st_size > 10_000
    for arm in TRAINED:
        assert load_params(finished / arm)[1]["stage"] == arm


@pytest.mark.parametrize("arm", ["true-strongest", "local"])
def test_prediction_gives_spins_and_their_exact_gap(finished, folder, tmp_path, capsys, arm):
    out = tmp_path / "spins.txt"
    arguments = [
        "predict",
        str(folder / "glass0.txt"),
        "--run",
        str(finished),
        "--arm",
        arm,
        "--out",
        str(out),
    ]
    assert spins.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "exact ground state" in printed and "above the lowest" in printed
    found = np.array(out.read_text().split(), dtype=int)
    assert found.shape == (20,) and set(found) <= {1, -1}
    lattice = next(iter(folder_sets(folder).values()))
    along = np.sum(lattice.right[0, :, :-1] * found.reshape(4, 5)[:, :-1] * found.reshape(4, 5)[:, 1:])
    across = np.sum(lattice.down[0, :-1] * found.reshape(4, 5)[:-1] * found.reshape(4, 5)[1:])
    assert f"{-along - across:.6f}" in printed


def test_prediction_does_not_depend_on_how_bonds_are_listed(finished):
    params, config = load_model(finished, "local")
    glass = from_lattice(*(part[0] for part in random_lattices(1, 4, 5, seed=4)))
    # the bonds that lie in a row the other way round
    along = np.abs(glass.senders - glass.receivers) == 1
    senders, receivers = np.where(along, (glass.receivers, glass.senders), (glass.senders, glass.receivers))
    other = dataclasses.replace(glass, senders=senders, receivers=receivers)
    predicted = [predict_spins(config, params, one, "corner") for one in (glass, other)]
    np.testing.assert_array_equal(*predicted)


def test_prediction_is_for_any_graph(finished, tmp_path, capsys):
    path = tmp_path / "triangle.txt"
    path.write_text("4 4\n1 2 1\n2 3 1\n1 3 1\n3 4 -1\n")
    assert spins.main(["predict", str(path), "--run", str(finished), "--out", str(tmp_path / "s.txt")]) == 0
    printed = capsys.readouterr().out
    assert "-4.000000" in printed and "no square lattice" in printed


def test_seeds_are_combined_and_others_refused(finished, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    found = json.loads((finished / "results.json").read_text())
    found["config"]["seed"] = 1
    for arm, gap in {"cross-entropy": 4.0, "local": 1.0}.items():
        found["results"][arm]["sets"]["4×4"]["direct"]["gap"] = gap
    (other / "results.json").write_text(json.dumps(found))
    own = json.loads((finished / "results.json").read_text())["results"]
    base, local = (own[arm]["sets"]["4×4"]["direct"]["gap"] for arm in ("cross-entropy", "local"))
    gains = [100 * (1 - local / base), 75.0]
    differences = [base - local, 3.0]
    p = stats.ttest_1samp(differences, 0).pvalue
    mean = format_number(np.mean(gains))
    assert f"{mean} ± {np.std(gains, ddof=1):.2g} (p = {p:.2g})" in combine([finished, other])
    found["config"]["stages"]["local"]["steps"] += 1
    (other / "results.json").write_text(json.dumps(found))
    with pytest.raises(ValueError, match="differ in stages"):
        combine([finished, other])
    with pytest.raises(ValueError, match="of different seeds"):
        combine([finished, finished])
    with pytest.raises(ValueError, match=r"no results.json of a finished run"):
        combine([tmp_path])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere"], "nowhere: no such folder"),
        (["predict", "nothing.txt"], "no such file"),
        (["combine", "nowhere"], "holds no results.json"),
    ],
)
def test_errors_of_the_user_end_in_one_line(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert spins.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_wrong_energy_in_a_folder_is_seen(folder, tmp_path):
    (tmp_path / "glass0.txt").write_text((folder / "glass0.txt").read_text())
    (tmp_path / "exact.json").write_text(json.dumps({"instances": {"glass0": {"E0": -1.0}}}))
    with pytest.raises(ValueError, match="glass0: lowest energy -1 in the folder"):
        folder_sets(tmp_path)


def test_long_annealing_comes_down_to_ground_states():
    """Or to states a few weak bonds above them: a plain loop over spins solves 65 %, gap 0.080 J."""
    right, down = random_lattices(20, 4, 4, seed=5)
    solved = {"4×4": Solved(right, down, *ground_states(right, down))}
    few, many = (evaluate(by_annealing(sweeps, 0), solved)["4×4"]["direct"] for sweeps in (2, 300))
    assert many["solved"] >= 40 and many["gap"] < 0.15 < 0.1 * few["gap"]


def test_lattices_to_choose_settings_on_are_not_those_of_the_test():
    drawn = {role: random_set(2, 3, 0, role).right for role in (TRAIN, VALIDATION, TEST)}
    assert not any(np.isin(drawn[one], drawn[other][drawn[other] != 0]).any() for one, other in PAIRS)
    tests = {validate: spins._test_sets(TINY, 0, validate, None)["4×4"].right for validate in (False, True)}
    np.testing.assert_array_equal(tests[True], random_set(4, 4, 0, VALIDATION).right)
    np.testing.assert_array_equal(tests[False], random_set(4, 4, 0, TEST).right)


def test_gauges_choose_the_sign_of_the_label():
    solved = random_set(20, 4, 0, TRAIN)
    flipped = solved._replace(spins=-solved.spins)
    assert (in_gauge(solved, "corner").label[:, 0, 0] == 1).all()
    for one in (solved, flipped):
        lattices = in_gauge(one, "strongest")
        assert (np.sum(lattices.label * lattices.reference, axis=(1, 2)) >= 0).all()


def test_only_what_should_knows_labels():
    """The true energies are blind to labels; far from small h₀ the local one is a loss on labels alone."""
    right, down = random_lattices(4, 3, 3, seed=6)
    batch = jax.tree.map(jnp.asarray, in_gauge(Solved(right, down, *ground_states(right, down)), "corner"))
    config = model_config("true", {"channels": 4, "layers": 1})
    params, key = initial_params(config, batch, 0), jax.random.key(0)

    def value(arm, some):
        return float(arm_loss(config, TINY, arm)(params, some, key)[0])

    flipped = batch._replace(label=-batch.label)
    for arm, blind in {"true": True, "shuffled": True, "local": False, "cross-entropy": False}.items():
        assert (value(arm, flipped) == value(arm, batch)) == blind
    other = jax.tree.map(lambda part: part[::-1], batch)
    mixed = batch._replace(right=other.right, down=other.down)
    logits = jnp.ones_like(batch.label[0])
    for law, knows in {"local": True, "label-limit": False}.items():
        own, others = (
            LAWS[law](Settings(0.1, 1.0, 1e5), logits, jax.tree.map(lambda part: part[0], some), None, None)
            for some in (batch, mixed)
        )
        assert (abs(own - others) > 1e-3) == knows
    assert value("no-gauge", flipped) != value("cross-entropy", flipped)
    assert value("shuffled", batch) != value("true", batch)
