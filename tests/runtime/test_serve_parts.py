"""The parts of the server alone: joining, desks, lanes, texts that come in pieces."""

import threading

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from samples.served import LENGTH, served
from variorum.core import Layout, VariorumError
from variorum.data.text_pieces import TextPieces
from variorum.data.tokenizer import Tokenizer, train_bpe
from variorum.layers.mixers.delta import Delta
from variorum.runtime.decoding.decoding import Limits as Written
from variorum.runtime.decoding.steps import Greedy, Sampling
from variorum.runtime.decoding.text import Unfolding
from variorum.runtime.generate import generate
from variorum.runtime.generation.ticket import Request, Stage
from variorum.runtime.serve.cells import check_file
from variorum.runtime.serve.desk import PAGE, engine_of, pages
from variorum.runtime.serve.joined import joinable, joined, parted, rows_and_tokens
from variorum.runtime.serve.limits import Limits
from variorum.runtime.serve.refusal import Refusal
from variorum.runtime.serve.rows_lane import RowsLane
from variorum.runtime.serve.scheduler import Lane, Scheduler
from variorum.runtime.serve.shelf import named
from variorum.runtime.serve.writing_lane import News, Order, WritingLane


def packed(*lengths: int) -> dict:
    return {"inputs": torch.randn(sum(lengths), 3), "layout": Layout.ragged(list(lengths))}


@torch.inference_mode()
@pytest.mark.parametrize("name", ["series", "language", "labelled texts", "sounds"])
def test_joined_requests_get_the_answers_of_each_alone(name: str) -> None:
    """Uneven rows, equal rows of different lengths and rows of one token share a batch; answers agree to 1e-5."""
    bundle = served(name)
    preprocess = bundle.preprocess.build()
    if name == "series":
        rows = [[np.ones((2, 5)), np.zeros((2, 3))], [np.ones((2, 4))] * 2, [np.ones((2, 1))], [np.ones((2, 4))]]
    elif name == "sounds":
        rows = [[(np.random.default_rng(i).standard_normal(500 + 7 * i), 8000)] for i in range(3)]
    else:
        rows = [["a"], ["abab", "b"], ["ba"]]
    parts = [part for one in rows for part in preprocess.batches(preprocess.open(one), 8)]
    assert all(joinable(part) for part in parts)
    together = parted(bundle.model(**joined(parts)), parts)
    for part, answer in zip(parts, together, strict=True):
        torch.testing.assert_close(answer, bundle.model(**part), rtol=1e-5, atol=1e-5)


def test_equal_rows_stay_equal_and_lists_are_parted_by_rows() -> None:
    parts = [{"inputs": torch.randn(2, 4)}, {"inputs": torch.randn(1, 4)}]
    assert set(joined(parts)) == {"inputs"} and joined(parts)["inputs"].shape == (3, 4)
    assert parted([1, 2, 3], parts) == [[1, 2], [3]]
    uneven = [packed(2, 3), packed(1)]
    assert rows_and_tokens(uneven[0]) == (2, 5)
    by_token = parted(torch.arange(6), uneven)
    assert [piece.tolist() for piece in by_token] == [[0, 1, 2, 3, 4], [5]]
    with pytest.raises(ValueError, match="7 answers to 3 rows"):
        parted(torch.arange(7), uneven)
    assert not joinable({"inputs": torch.ones(2), "layout": Layout.ragged([2], segments=torch.ones(2))})


# -- texts that come in pieces -----------------------------------------------------------------------------------------
@given(st.text(max_size=40) | st.binary(max_size=60), st.lists(st.text("ab\n", min_size=1, max_size=3), max_size=3))
@example("\na\n", ["a", "\na\n"])  # the one that begins first is not complete first
@example("ba", ["a", "ba"])  # both are complete at once
def test_pieces_of_any_bytes_add_up(given_: str | bytes, stops: list[str]) -> None:
    """Bytes that are text or none: the pieces told are, together, the whole before the stop that is complete first."""
    raw = given_.encode() if isinstance(given_, str) else given_
    text = raw.decode("utf-8", "replace")
    unfolding = Unfolding(lambda ids: bytes(ids).decode("utf-8", "replace"), stops)
    pieces = [unfolding.take(i) for i in raw] + [unfolding.finish()]
    places = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
    assert "".join(pieces) == unfolding.certain == (text[: min(places)[1]] if places else text)


def test_pieces_of_a_byte_pair_tokenizer_add_up() -> None:
    tokenizer = train_bpe(["grüße, 你好 und héllo " * 9], vocab=300)
    text = "héllo, 你好 grüße 🙂 und so weiter, und so fort " * 3
    unfolding = Unfolding(tokenizer.decode)
    assert "".join([*(unfolding.take(i) for i in tokenizer.encode(text)), unfolding.finish()]) == text


# -- writing -----------------------------------------------------------------------------------------------------------
def test_requests_that_come_and_go_are_written_as_alone() -> None:
    """Greedy and sampled requests that come and go, one of them cancelled: texts are generate's alone."""
    model, rows = served("language").model, served("language").preprocess.build()
    ways = [Greedy(), Sampling(seed=3), Sampling(temperature=0.7, top_k=9, seed=4), Sampling(top_p=0.5, seed=5)]
    prompts = [torch.tensor(list(text)) for text in (b"When in", b"t", b"A longer prompt than others", b"of it")]
    pairs = list(zip(prompts, ways, strict=True))
    wanted = [rows.decode(generate(model, [prompt], most=12, decoding=way)[0].tolist()) for prompt, way in pairs]
    told: dict[int, list[News]] = {i: [] for i in range(5)}

    def order(place: int, prompt: torch.Tensor, way: Greedy | Sampling) -> Order:
        request = Request(prompt, Written(12, (), (), rows.decode), way)
        return Order(place, request, lambda news: told[news.place].append(news))

    lane = WritingLane(engine_of(model, Limits(slots=3), LENGTH), told=lambda count: None)
    gone = order(4, prompts[0], ways[0])
    lane.submit(order(0, *pairs[0]))
    lane.submit(gone)
    with torch.inference_mode():
        for turn in range(60):
            for i in {3: [1], 4: [2, 3]}.get(turn, []):
                lane.submit(order(i, *pairs[i]))
            gone.cancelled = turn > 5
            lane.turn()
    assert ["".join(news.text for news in told[i]) for i in range(4)] == wanted
    assert [sum(news.tokens for news in told[i]) for i in range(5)] == [12, 12, 12, 12, 6]
    assert [told[i][-1].ended for i in range(4)] == ["length"] * 4 and told[4][-1].ended is None
    assert not lane.busy and (lane.waiting, lane.writing) == (0, 0)


def test_who_waits_for_the_whole_text_hears_once() -> None:
    """The same text and tokens as in pieces, which are counted as they are written all the same."""
    rows, told, counted = served("language").preprocess.build(), {True: list[News](), False: list[News]()}, list[int]()
    lane = WritingLane(engine_of(served("language").model, Limits(), LENGTH), told=counted.append)
    for pieces, heard in told.items():
        request = Request(torch.tensor([1, 2]), Written(9, (), (), rows.decode))
        lane.submit(Order(0, request, heard.append, pieces=pieces))
    with torch.inference_mode():
        while lane.busy:
            lane.turn()
    (whole,), parts = told[False], told[True]
    assert len(parts) > 1 and whole.text == "".join(news.text for news in parts)
    assert whole.tokens == sum(news.tokens for news in parts) == 9 and whole.ended == parts[-1].ended == "length"
    assert sum(counted) == 18 and len(counted) > 8


def test_a_prompt_that_cannot_be_read_fails_alone() -> None:
    """An id that the model does not know: its request fails, those read with it and those at the desk do not."""
    model, told = served("language").model, list[News]()
    lane = WritingLane(engine_of(model, Limits(), LENGTH), told=lambda count: None)
    with torch.inference_mode():
        for turn in range(9):
            for place, prompt in {0: [(0, [1, 2])], 2: [(1, [999]), (2, [3])]}.get(turn, []):
                lane.submit(Order(place, Request(torch.tensor(prompt), Written(6)), told.append))
            lane.turn()
    assert [type(news.error) for news in told if news.place == 1] == [IndexError]
    assert [sum(news.tokens for news in told if news.place == place) for place in (0, 2)] == [6, 6]


class Picky:
    """A desk that fails, in a way of its own, at requests of one prompt."""

    def __init__(self, model) -> None:
        engine = engine_of(model, Limits(), LENGTH)
        self.cancel, self.step, self._engine = engine.cancel, engine.step, engine

    @property
    def load(self):
        return self._engine.load

    def submit(self, request: Request):
        if request.prompt.tolist() == [7]:
            raise RuntimeError("not this one")
        return self._engine.submit(request)


def test_a_request_that_cannot_be_taken_in_fails_alone() -> None:
    """Whatever the desk raises at a request is told to that one; those before and after it are written."""
    told = list[News]()
    lane = WritingLane(Picky(served("language").model), told=lambda count: None)
    with torch.inference_mode():
        for place, prompt in enumerate(([1, 2], [7], [3])):
            lane.submit(Order(place, Request(torch.tensor(prompt), Written(4)), told.append))
        while lane.busy:
            lane.turn()
    assert [str(news.error) for news in told if news.error] == ["not this one"]
    assert [sum(news.tokens for news in told if news.place == place) for place in range(3)] == [4, 0, 4]


def test_caches_lie_in_as_many_pages_as_they_may_take() -> None:
    """Pages for all slots, or for the bytes that are allowed, yet for one text; fewer pages than texts: those wait."""
    model = served("language").model  # 2 blocks, keys and values of 16 numbers of 4 bytes: 256 bytes a token
    token, each = 256, 2  # pages of 64 for the 96 ids of a text
    assert pages(model, Limits(slots=5), LENGTH) == 5 * each
    assert pages(model, Limits(slots=5, cache=3 * PAGE * token), LENGTH) == 3
    assert pages(model, Limits(slots=5, cache=1), LENGTH) == each
    assert pages(Delta(8, heads=2), Limits(), LENGTH) is None
    desk = engine_of(model, Limits(slots=5, cache=1), LENGTH)
    prompts = [torch.tensor(list(text)) for text in (b"When in", b"t", b"of it")]
    tickets = [desk.submit(Request(prompt, Written(LENGTH - len(prompt)))) for prompt in prompts]
    with torch.inference_mode():
        desk.step()
        assert (desk.load[Stage.WAITING], desk.load[Stage.WRITING]) == (2, 1)
        while any(desk.load.values()):
            desk.step()
    for prompt, ticket in zip(prompts, tickets, strict=True):
        assert ticket.tokens == generate(model, [prompt], most=LENGTH - len(prompt))[0].tolist()
    with pytest.raises(VariorumError, match=f"at most {LENGTH} tokens"):
        desk.submit(Request(prompts[0], Written(LENGTH)))


# -- lanes and the scheduler -------------------------------------------------------------------------------------------
def test_waiting_requests_share_one_batch_and_one_fault_stays_alone() -> None:
    batches: list[int] = []

    def ask(inputs: dict) -> torch.Tensor:
        if inputs["inputs"].isnan().any():
            raise ValueError("not a number")
        return inputs["inputs"].sum(1)

    lane = RowsLane(Limits(batch_rows=4), told=batches.append)
    good = [lane.submit(ask, {"inputs": torch.full((1, 2), float(i))}) for i in range(5)]
    lane.submit(ask, {"inputs": torch.ones(1, 2)}).cancel()
    lane.turn()
    lane.turn()
    assert [float(future.result()[0]) for future in good] == [0.0, 2.0, 4.0, 6.0, 8.0]
    assert batches == [4, 1] and not lane.busy  # the cancelled one was not computed
    futures = [lane.submit(ask, {"inputs": torch.full((1, 2), value)}) for value in (1.0, float("nan"), 3.0)]
    lane.turn()
    assert float(futures[0].result()[0]) == 2.0 and float(futures[2].result()[0]) == 6.0
    with pytest.raises(ValueError, match="not a number"):
        futures[1].result()


class Counting(Lane):
    """Has so many turns to do; fails at one of them."""

    def __init__(self, turns: int, order: list[str], name: str, *, fails: int = -1) -> None:
        self.turns, self.order, self.name, self.fails = turns, order, name, fails
        self.error: Exception | None = None

    @property
    def busy(self) -> bool:
        return self.turns > 0

    def turn(self) -> None:
        self.turns -= 1
        self.order.append(self.name)
        if self.turns == self.fails:
            raise RuntimeError("on purpose")

    def fail(self, error: Exception) -> None:
        self.turns, self.error = 0, error


def test_lanes_take_turns_a_failing_one_stops_no_other_and_closing_finishes_the_rest() -> None:
    order: list[str] = []
    gate = threading.Event()

    class Waiting(Counting):
        def turn(self) -> None:
            gate.wait(10)
            super().turn()

    with Scheduler(threads=1) as scheduler:
        first = Waiting(1, order, "first")
        scheduler.add(first)
        lanes = [Counting(3, order, "a"), Counting(3, order, "b", fails=1), Counting(2, order, "c")]
        for lane in lanes:
            scheduler.add(lane)
        gate.set()
    assert order == ["first", "a", "b", "c", "a", "b", "c", "a"]
    assert str(lanes[1].error) == "on purpose"


# -- names, limits, preprocesses ---------------------------------------------------------------------------------------
def test_names_of_bundles() -> None:
    assert list(named(["runs/digits", "b=runs/digits"])) == ["digits", "b"]
    for wrong in (["x/a", "y/a"], ["=a"], ["a/b=c"]):
        with pytest.raises(VariorumError, match="a name that no other bundle has"):
            named(wrong)


def test_what_a_file_becomes_is_counted_before_it_is_opened() -> None:
    """Series whose channels are filled up to the longest, lines of a text, fields of a table."""
    limits = Limits(cells=100)
    many = {
        ".ts": "@data\n" + ":".join(["1"] * 20 + ["1,2,3,4,5,6"]),
        ".txt": "a\n" * 101,
        ".csv": "a,b\n" + "1\n" * 51,
    }
    for suffix, text in many.items():
        with pytest.raises(Refusal, match="cells, at most 100"):
            check_file(text.encode(), f"x{suffix}", suffix, limits)
        check_file(text[: len(text) // 3].encode(), f"x{suffix}", suffix, limits)


def test_a_limit_of_nothing_is_refused() -> None:
    with pytest.raises(VariorumError, match="Limits waiting: expected a number above 0"):
        Limits(waiting=0)


def test_pieces_of_a_tokenizer_as_a_language_models_rows() -> None:
    """Bits are those of the model's own log-probabilities; a text longer than a row is several rows."""
    rows = TextPieces(tokenizer=Tokenizer.spec(**Tokenizer.examples[0]), length=3, begin=(0,), ends=(1,))
    opened = rows.open(["a b", "b"])
    (batch,) = rows.batches(opened, 8)
    assert batch["layout"].lengths == [len(piece) for text in ("a b", "b") for piece in rows._pieces(text)]
    scores = torch.randn(len(batch["inputs"]), rows.vocab)
    told = rows.answers(opened, [scores])
    first = scores[: batch["layout"].lengths[0]].double().log_softmax(-1)
    ids = batch["inputs"][: len(first)]
    wanted = -float(first[:-1].gather(1, ids[1:, None]).mean()) / np.log(2)
    assert told["bits_per_piece"][0] == pytest.approx(wanted)
    assert rows.turns.text([("user", "{role} {content}")]) == "user: {role} {content}\nassistant:"
    with pytest.raises(VariorumError, match="ids of the tokenizer"):
        TextPieces(tokenizer=Tokenizer.spec(**Tokenizer.examples[0]), length=3, begin=(9,))
