"""``variorum predict`` and ``variorum export``: what is done with a bundle."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """What a bundle can be exported to."""

    ONNX = "onnx"


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


def export(
    bundle: Annotated[Path, typer.Argument(help="The folder of a bundle, such as runs/digits/winner.")],
    to: Annotated[Format, typer.Option(help="The format.")] = Format.ONNX,
    out: Annotated[Path | None, typer.Option(help="The file; BUNDLE.onnx beside the folder if left out.")] = None,
) -> None:
    """Write a trained model as a file that other runtimes read; it is run and compared before it is handed over."""
    from variorum.runtime.bundle import load
    from variorum.runtime.export import to_onnx

    path = out or bundle.absolute().with_suffix(f".{to}")
    done = to_onnx(load(bundle), path)
    sizes = ", ".join(f"{batch} x {length}" for batch, length in done.checked)
    typer.echo(f"{done.path}: {done.nbytes:,} bytes, opset {done.opset}; run at batch x length {sizes}: "
               f"largest difference {done.difference:.1e}")  # fmt: skip
