"""``variorum predict``, ``compile``, ``export`` and ``import``: what is done with a bundle, and how one is made."""

from pathlib import Path
from typing import Annotated

import typer

from variorum.runtime.forms import Form


def predict(
    bundle: Annotated[Path, typer.Argument(help="The folder of a bundle, such as runs/digits/winner.")],
    input: Annotated[Path, typer.Argument(help="A table, an image, a folder of images, or a text file.")],
    out: Annotated[Path | None, typer.Option(help="A CSV file for the answers; printed if left out.")] = None,
) -> None:
    """Answer new rows with a trained model."""
    from variorum.compare.atomic import write
    from variorum.runtime.bundle import load

    answers = load(bundle).predict(input)
    text = answers.to_csv(lineterminator="\n", index_label="row")
    if out is None:
        typer.echo(text, nl=False)
    else:
        write(out, text)
        typer.echo(f"{len(answers)} answers in {out}")


def import_checkpoint(
    source: Annotated[Path, typer.Argument(help="A GGUF file, or a folder of transformers with its tokenizer.")],
    out: Annotated[Path, typer.Option(help="The folder of the bundle.")],
    accept: Annotated[
        str | None, typer.Option(help="The licence of a GGUF file's weights, if they have terms.")
    ] = None,
) -> None:
    """Make a bundle of a language model that another library has written: GPT-2, Gemma 3, or of the Llama family."""
    from variorum.runtime.bundle import save
    from variorum.runtime.checkpoint import bundle_of, open_checkpoint

    bundle = bundle_of(open_checkpoint(source, accept=accept), source=source.name)
    folder = save(bundle, out)
    numbers = sum(weights.numel() for weights in bundle.model.parameters())
    typer.echo(f"{folder}: {bundle.provenance['system']}, {numbers:,} numbers")


def compile(
    bundle: Annotated[Path, typer.Argument(help="The folder of a bundle, such as runs/digits/winner.")],
    precision: Annotated[
        str, typer.Option(help="auto: the fastest for each module that keeps the tolerance; or one for all.")
    ] = "auto",
    tolerance: Annotated[
        float | None, typer.Option(min=0, help="Largest relative error of the answers; by precision if left out.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="For arithmetic; torch's choice if left out.")] = None,
) -> None:
    """Measure how a trained model runs fastest on this machine, and keep that in its bundle, which is served so."""
    from variorum.runtime.bundle import load, save

    kept = load(bundle)
    kept.compile(precision=precision, tolerance=tolerance, threads=threads)  # tells the plan itself
    save(kept, bundle)


def export(
    bundle: Annotated[Path | None, typer.Argument(help="The folder of a bundle, such as runs/digits/winner.")] = None,
    to: Annotated[Form, typer.Option(help="The form: EXPORT.md tells which system has which.")] = Form.ONNX,
    out: Annotated[
        Path | None,
        typer.Option(help="The file; beside the folder, BUNDLE.onnx, ..., if left out. With --system: a folder."),
    ] = None,
    system: Annotated[
        list[str] | None, typer.Option(help="Try a system of the edition in all forms, and keep the outcome.")
    ] = None,
    table: Annotated[bool, typer.Option("--table", help="Print what came of all systems.")] = False,
    write: Annotated[bool, typer.Option("--write", help="With --table: write EXPORT.md into this folder.")] = False,
) -> None:
    """Write a trained model as a file that other runtimes read; it is run and compared before it is handed over."""
    from variorum.core.errors import VariorumError

    if sum((bundle is not None, bool(system), table)) != 1 or (write and not table):
        raise VariorumError("export", expected="a bundle, --system NAME, or --table, maybe with --write",
                            found="none or several of them", do="See variorum export --help.")  # fmt: skip
    if table:
        _table(write)
    elif bundle is None:
        _try(system or [], out or Path("runs/exports"))
    else:
        _write(bundle, to, out)


def _write(bundle: Path, to: Form, out: Path | None) -> None:
    from variorum.runtime.bundle import load
    from variorum.runtime.forms import write

    done = write(load(bundle), out or bundle.absolute().with_suffix(to.suffix), to)
    sizes = ", ".join(f"{batch} x {length}" for batch, length in done.checked)
    opset = "" if done.opset is None else f", opset {done.opset}"
    run = "batch x pieces" if to.value.endswith("-step") else "batch x length"
    typer.echo(f"{done.path}: {done.nbytes:,} bytes{opset}; run at {run} {sizes}: "
               f"largest difference {done.difference:.1e}")  # fmt: skip


def _try(systems: list[str], folder: Path) -> None:
    from variorum.compare.exported import try_export

    for name in systems:
        outcome = try_export(name)
        path = outcome.write(folder)
        for form, made in outcome.made.items():
            says = made if isinstance(made, str) else f"largest difference {made['difference']:.1e}"
            typer.echo(f"{name}\t{form}\t{says}")
        typer.echo(f"kept in {path}")


def _table(write: bool) -> None:
    from variorum.compare.atomic import write as write_file
    from variorum.compare.export_page import PAGE, page
    from variorum.compare.exported import stored

    if write:
        write_file(Path(PAGE), page(stored()))
    else:
        typer.echo(page(stored()), nl=False)
