"""A trained model in a folder: its spec, its weights, what its data need, where it comes from. Nothing in it is run."""

import hashlib
import json
import logging
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import variorum
from variorum.core import Part, Spec, VariorumError
from variorum.core.spec import read_json
from variorum.data.continuing import Continuing
from variorum.data.preprocess import Preprocess
from variorum.data.task import Task
from variorum.runtime import weights
from variorum.runtime.card import model_card
from variorum.runtime.engine.compile import compile as compile_model
from variorum.runtime.engine.engine import Engine
from variorum.runtime.engine.plan import Plan
from variorum.runtime.engine.sample import LONGEST, ROWS, rows_for
from variorum.runtime.trial import build, survey, try_build
from variorum.runtime.written import answer

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

FORMAT_VERSION = 1
BUNDLE, WEIGHTS, CARD = "bundle.json", "weights.safetensors", "README.md"
LARGEST_TEXT = 64 << 20
KEYS = frozenset(
    {
        "sha256",
        "format_version",
        "variorum",
        "kind",
        "spec",
        "preprocess",
        "labels",
        "provenance",
        "aliases",
        "tensors",
        "files",
    }
)
MAYBE = frozenset({"plan"})
"""What only the bundle of a compiled model has."""


@dataclass
class Bundle:
    """A trained model and all that is needed to use it again.

    kind: of data: table, images, text.  preprocess: makes tensors of the user's rows, and words of answers.
    labels: classes in the user's terms.  provenance: JSON values: data, seed, scores, versions.  card: the text of its
    README; one is written from the rest if it is empty.  plan: how the model is compiled (:meth:`compile`).
    """

    model: Part
    kind: str
    preprocess: Spec[Preprocess] | None = None
    labels: tuple[Any, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
    card: str = ""
    plan: Plan | None = None

    @classmethod
    def of(cls, model: Part, task: Task, *, provenance: dict[str, Any] | None = None, card: str = "") -> "Bundle":
        """The bundle of a model trained on a task, which tells its kind, preprocessing and labels."""
        return cls(model, task.reads, task.preprocess, tuple(task.labels), provenance or {}, card)

    @property
    def spec(self) -> Spec[Any]:
        """What the model was built from."""
        if self.model.built_from is None:
            raise VariorumError(
                type(self.model).__name__,
                expected="a model that a Spec built",
                found="one built by hand",
                do="Build it with Spec.build.",
            )
        return self.model.built_from

    def predict(self, rows: Any, *, size: int = 256) -> "pd.DataFrame":
        """What the model answers for each row, in the user's terms: ``prediction`` and, for classes, probabilities.

        rows: a table's path, a DataFrame or an array in the order of training; an image, a folder, a list of images or
        an array; a text or a list of texts. size: rows that go through the model at a time.
        """
        if self.preprocess is None:
            raise VariorumError("bundle", expected="a preprocess that reads rows", found="none",
                                do="Call bundle.model with tensors.")  # fmt: skip
        preprocess = self.preprocess.build()
        opened = preprocess.open(rows)
        self.model.eval()
        with torch.inference_mode():
            outputs = [answer(self.model, inputs, preprocess) for inputs in preprocess.batches(opened, size)]
        return preprocess.answers(opened, outputs)

    def compile(self, **options: Any) -> Engine:
        """The model compiled for inference (see :func:`variorum.compile`) by the stored plan; without one, or with
        ``options``, a plan is measured here and stored.
        """
        if self.plan is not None and not options:
            return compile_model(self.model, plan=self.plan, tell=log.info)
        if "sample" not in options and self.preprocess is not None:
            preprocess = self.preprocess.build()
            rows = rows_for(preprocess.vocab, LONGEST) if isinstance(preprocess, Continuing) else ROWS
            options["sample"] = preprocess.sample(rows, LONGEST)
        engine = compile_model(self.model, **options)
        self.plan = engine.plan
        return engine


def save(bundle: Bundle, folder: str | Path) -> Path:
    """Write a bundle's three files. They stand under the final name together, or not at all.

    An older bundle of the name is replaced; any other folder or file there raises :class:`VariorumError`.
    """
    final = Path(folder).absolute()
    _check_place(final)
    _check_spec(bundle)
    _text({"labels": list(bundle.labels), "provenance": bundle.provenance})
    final.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{final.name}.", suffix=".draft", dir=final.parent))
    try:
        tensors = weights.write(bundle.model, draft / WEIGHTS)
        card = bundle.card or model_card(bundle, tensors)
        (draft / CARD).write_bytes(card.encode("utf-8", errors="backslashreplace"))
        text = _sealed(_content(bundle, tensors, [_entry(draft / name) for name in (WEIGHTS, CARD)]))
        (draft / BUNDLE).write_bytes(text)
        draft.chmod(0o755)
        (draft / WEIGHTS).chmod((draft / CARD).stat().st_mode)  # safetensors lets nobody else read what it writes
        for name in (BUNDLE, WEIGHTS, CARD):
            _flush(draft / name)
        _flush(draft)
        _put(draft, final)
    except OSError as error:
        raise VariorumError(
            str(folder),
            expected="a place to write a bundle to",
            found=str(error),
            do="Nothing was changed: free space, or choose another place.",
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return final


def load(folder: str | Path, *, mapped: bool = True) -> Bundle:
    """Read a bundle that :func:`save` wrote. It names registered parts only and runs nothing that its files choose.

    Everything is checked before memory is taken: names of files, links, sizes, hashes, the header of the weights
    against the model that the spec would build. Whatever is amiss raises :class:`VariorumError` and says what to do.

    mapped: the weights stay in their file until they are used, so that a large model is there at once and processes
    share it. A file that is then written over in place, which :func:`save` does not do, ends them; where that may
    happen, say False: all is read into memory now.
    """
    root = Path(folder)
    _check_folder(root)
    content = _read_content(root)
    for entry in content["files"]:
        _check_entry(root, entry)
    spec, preprocess = _read_specs(content)
    header = weights.header(root / WEIGHTS)
    if header != content["tensors"]:
        raise _damaged(WEIGHTS, "the tensors that bundle.json lists", "others")
    trial = try_build(spec, stored_bytes=(root / WEIGHTS).stat().st_size, stored_tensors=len(header))
    weights.compare(header, trial)
    if trial.aliases != content["aliases"]:
        raise _damaged(BUNDLE, f"the shared tensors of the spec, {trial.aliases}", f"{content['aliases']}")
    model = build(spec)
    weights.read_into(model, root / WEIGHTS, mapped=mapped)
    card = (root / CARD).read_bytes().decode("utf-8", errors="replace")
    plan = Plan.from_dict(content["plan"]) if "plan" in content else None
    return Bundle(
        model.eval(), content["kind"], preprocess, tuple(content["labels"]), content["provenance"], card, plan
    )


# -- writing -----------------------------------------------------------------------------------------------------------
def _content(bundle: Bundle, tensors: dict[str, list[Any]], files: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "variorum": variorum.__version__,
        "kind": bundle.kind,
        "spec": bundle.spec.to_dict(),
        "preprocess": bundle.preprocess.to_dict() if bundle.preprocess else None,
        "labels": list(bundle.labels),
        "provenance": {"saved": datetime.now(UTC).isoformat(timespec="seconds"), **bundle.provenance},
        "aliases": survey(bundle.model).aliases,
        "tensors": tensors,
        "files": files,
        **({"plan": bundle.plan.to_dict()} if bundle.plan else {}),
    }


def _sealed(content: dict[str, Any]) -> bytes:
    """JSON text whose first value is the hash of the rest."""
    digest = hashlib.sha256(_text(content)).hexdigest()
    return _text({"sha256": digest, **content})


def _text(content: dict[str, Any]) -> bytes:
    try:
        return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()
    except (TypeError, ValueError) as error:
        raise VariorumError("bundle", expected="labels and provenance of JSON values, numbers finite", found=str(error),
                            do="Turn them into text or plain numbers first.") from None  # fmt: skip


def _check_spec(bundle: Bundle) -> None:
    """A model that was changed since it was built would be another one after loading."""
    trial = survey(bundle.model)
    rebuilt = try_build(bundle.spec, stored_bytes=trial.nbytes, stored_tensors=len(trial.tensors))
    weights.compare({n: [weights.dtype_name(t), list(t.shape)] for n, t in trial.tensors.items()}, rebuilt)
    if rebuilt.aliases != trial.aliases:
        raise VariorumError(
            "bundle model",
            expected=f"the shared tensors of its spec, {rebuilt.aliases}",
            found=f"{trial.aliases}",
            do="Tie tensors by the spec's argument.",
        )


def _check_place(final: Path) -> None:
    if final.is_dir() and (not any(final.iterdir()) or (final / BUNDLE).is_file()):
        return
    if final.exists() or final.is_symlink():
        raise VariorumError(
            str(final),
            expected="a new name, an empty folder, or an older bundle",
            found="something else",
            do="Choose another name, or move it away.",
        )


def _put(draft: Path, final: Path) -> None:
    """Rename the draft to its final name; an older bundle steps aside and is then removed."""
    old = None
    if final.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{final.name}.", suffix=".old", dir=final.parent))
        final.rename(old)
    try:
        draft.rename(final)
    except OSError:
        if old is not None:
            old.rename(final)
        raise
    _flush(final.parent)
    if old is not None:
        shutil.rmtree(old)


def _flush(path: Path) -> None:
    """Have the system write a file or folder through to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# -- reading -----------------------------------------------------------------------------------------------------------
def _check_folder(root: Path) -> None:
    if not root.is_dir():
        raise VariorumError(
            str(root),
            expected="the folder of a bundle",
            found="a file" if root.exists() else "nothing of this name",
            do="Give the folder that save wrote.",
        )
    names = {path.name for path in root.iterdir()}
    known = {BUNDLE, WEIGHTS, CARD}
    if missing := sorted(known - names):
        raise VariorumError(
            str(root),
            expected=f"the files {', '.join(sorted(known))}",
            found=f"no {', '.join(missing)}",
            do="Copy the whole folder, or save the bundle again.",
        )
    if strange := sorted(names - known):
        raise VariorumError(
            str(root),
            expected=f"only the files {', '.join(sorted(known))}",
            found=", ".join(map(repr, strange[:5])),
            do="Move them elsewhere.",
        )
    for name in known:
        path = root / name
        if not path.is_file() or path.resolve().parent != root.resolve():
            raise VariorumError(
                str(path),
                expected="a file in this folder",
                found="a link that leaves it" if path.is_symlink() else "no file",
                do="Copy the file itself into the folder.",
            )


def _read_content(root: Path) -> dict[str, Any]:
    path = root / BUNDLE
    if path.stat().st_size > LARGEST_TEXT:
        raise _damaged(BUNDLE, f"at most {LARGEST_TEXT:,} bytes", f"{path.stat().st_size:,}")
    raw = path.read_bytes()
    content = read_json(raw, BUNDLE)
    if not isinstance(content, dict):
        raise _damaged(BUNDLE, "an object", type(content).__name__)
    version = content.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise VariorumError(BUNDLE, expected=f"format_version up to {FORMAT_VERSION}", found=str(version),
                            do="Upgrade: pip install --upgrade variorum.")  # fmt: skip
    if version != FORMAT_VERSION or isinstance(version, bool):
        raise _damaged(BUNDLE, f"format_version {FORMAT_VERSION}", repr(version))
    if set(content) - MAYBE != KEYS:
        raise _damaged(
            BUNDLE,
            f"the keys {', '.join(sorted(KEYS))}",
            ", ".join(sorted((set(content) - MAYBE) ^ KEYS)) + " missing or unknown",
        )
    rest = {key: value for key, value in content.items() if key != "sha256"}
    if raw != _sealed(rest):
        raise _damaged(BUNDLE, "the content that its own sha256 tells", "another: the file was changed")
    _check_types(content)
    return content


def _check_types(content: dict[str, Any]) -> None:
    wanted = {
        "kind": str,
        "spec": dict,
        "labels": list,
        "provenance": dict,
        "aliases": dict,
        "tensors": dict,
        "files": list,
    }
    for key, kind in wanted.items():
        if not isinstance(content[key], kind):
            raise _damaged(f"{BUNDLE} {key}", kind.__name__, type(content[key]).__name__)
    names = [entry.get("name") if isinstance(entry, dict) else None for entry in content["files"]]
    if names != [WEIGHTS, CARD]:
        raise _damaged(f"{BUNDLE} files", f"entries for {WEIGHTS} and {CARD}", repr(names)[:120])


def _read_specs(content: dict[str, Any]) -> tuple[Spec[Any], Spec[Preprocess] | None]:
    spec = Spec.from_dict(content["spec"])
    if not issubclass(spec.cls, Part):
        raise _damaged(f"{BUNDLE} spec", "a model", f"{spec.part}, a {spec.cls.kind}")
    if content["preprocess"] is None:
        return spec, None
    preprocess = Spec.from_dict(content["preprocess"])
    if not issubclass(preprocess.cls, Preprocess):
        raise _damaged(f"{BUNDLE} preprocess", "a preprocess", f"{preprocess.part}, a {preprocess.cls.kind}")
    build(preprocess)
    return spec, preprocess


def _entry(path: Path) -> dict[str, Any]:
    return {"name": path.name, "size": path.stat().st_size, "sha256": _sha256(path)}


def _check_entry(root: Path, entry: dict[str, Any]) -> None:
    path = root / entry["name"]
    for key, found in (("size", path.stat().st_size), ("sha256", None)):
        found = _sha256(path) if key == "sha256" else found
        if entry.get(key) != found:
            raise _damaged(path.name, f"{key} {entry.get(key)}", str(found))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _damaged(subject: str, expected: str, found: str) -> VariorumError:
    return VariorumError(
        subject,
        expected=expected,
        found=found,
        do="The bundle is damaged or was changed: copy it again, or save it again.",
    )
