"""MiniROCKET's features are those of the library of the field, and the rules they rest on are those of the paper."""

import math

import numpy as np
import pytest
import torch

from variorum.models.summaries.minirocket import KERNELS, MiniRocket, kernels, spread


def whole_numbers(rows: int, channels: int, length: int, seed: int) -> np.ndarray:
    """Series whose convolutions are exact in float32, so that no order of sums can move one across a bias."""
    return np.random.default_rng(seed).integers(-50, 50, (rows, channels, length)).astype(np.float32)


def taken_from(library, channels: int, length: int, features: int) -> MiniRocket:
    """Our part with the channels and biases that the library drew."""
    counts, channel, dilations, shares, biases = library.parameters
    part = MiniRocket(channels, length, features=features)
    assert part.dilations == tuple(dilations.tolist()) and part.shares == tuple(shares.tolist())
    chosen = np.zeros((len(dilations) * KERNELS, channels), dtype=bool)
    for pair, of in enumerate(np.split(channel, np.cumsum(counts)[:-1])):
        chosen[pair, of] = True
    part.channel.copy_(torch.from_numpy(chosen).view(part.channel.shape))
    part.bias.copy_(torch.from_numpy(biases))
    return part


@pytest.mark.slow
@pytest.mark.parametrize(("channels", "length", "features"), [(1, 60, 9996), (1, 9, 84), (4, 37, 1000), (12, 25, 500)])
def test_features_equal_the_librarys(channels: int, length: int, features: int) -> None:
    """aeon 1.6.0, bit for bit on whole numbers. Its code is compiled at the first call, which takes a minute."""
    aeon = pytest.importorskip("aeon.transformations.collection.convolution_based._minirocket")
    train, test = whole_numbers(12, channels, length, 0), whole_numbers(9, channels, length, 1)
    library = aeon.MiniRocket(n_kernels=features, random_state=3)
    library.fit(train)
    part = taken_from(library, channels, length, features)
    ours = part(torch.from_numpy(test.transpose(0, 2, 1).copy()))
    np.testing.assert_array_equal(ours.numpy(), np.asarray(library.transform(test)))


@pytest.mark.slow
def test_biases_equal_the_librarys_where_nothing_is_drawn() -> None:
    """One row and one channel leave no choice; on whole numbers the quantiles are of the same values."""
    aeon = pytest.importorskip("aeon.transformations.collection.convolution_based._minirocket")
    row = whole_numbers(1, 1, 50, 5)
    library = aeon.MiniRocket(n_kernels=2000)
    library.fit(row)
    part = MiniRocket(1, 50, features=2000)
    part.learn([torch.from_numpy(row[0].T.copy())], seed=0)
    np.testing.assert_allclose(part.bias.numpy(), library.parameters[4], rtol=1e-5, atol=1e-4)


def naive(part: MiniRocket, row: np.ndarray) -> list[float]:
    """The features of one row (n, channels), place by place as the definition says."""
    n, found, start = len(row), [], 0
    for j, (dilation, share) in enumerate(zip(part.dilations, part.shares, strict=True)):
        for k, weight in enumerate(kernels().double().numpy()):
            row_sum = row[:, part.channel[j, k].numpy()].sum(axis=1)
            at = lambda t, v=row_sum: v[t] if 0 <= t < n else 0.0  # noqa: E731
            places = range(n) if (j + k) % 2 == 0 else range(4 * dilation, n - 4 * dilation)
            seen = [sum(w * at(t + (i - 4) * dilation) for i, w in enumerate(weight)) for t in places]
            found += [float(np.mean([s > b for s in seen])) if seen else 0.0
                      for b in part.bias[start : start + share].tolist()]  # fmt: skip
            start += share
    return found


@pytest.mark.parametrize(("channels", "length", "given"), [(1, 20, 20), (3, 20, 20), (2, 40, 11)])
def test_features_are_those_of_the_definition(channels: int, length: int, given: int) -> None:
    """Also of a row shorter than those of training, in which some kernels fit nowhere."""
    part = MiniRocket(channels, length, features=3 * KERNELS)
    part.learn([torch.from_numpy(r.T.copy()) for r in whole_numbers(4, channels, length, 0)], seed=1)
    row = whole_numbers(1, channels, given, 7)[0].T.copy()
    np.testing.assert_allclose(part(torch.from_numpy(row)[None])[0].numpy(), naive(part, row), atol=1e-6)


def test_kernels_sum_to_nothing_and_differ() -> None:
    found = kernels()
    assert found.shape == (84, 9) and found.sum(1).abs().max() == 0 and len(found.unique(dim=0)) == 84


@pytest.mark.parametrize("length", [1, 8, 9, 10, 24, 150, 5000])
@pytest.mark.parametrize("each", [1, 7, 119, 500])
def test_every_dilation_gets_features_and_spans_the_row_at_most(length: int, each: int) -> None:
    dilations, shares = spread(length, each, 32)
    assert sum(shares) == each and min(shares) >= (each >= len(shares))
    assert dilations[0] == 1 and 8 * dilations[-1] <= max(length - 1, 8)
    assert list(dilations) == sorted(set(dilations))


def test_a_shift_of_the_row_changes_no_feature_of_kernels_that_lie_within_it() -> None:
    part = MiniRocket(1, 30, features=KERNELS)
    part.learn([torch.from_numpy(r.T.copy()) for r in whole_numbers(3, 1, 30, 0)], seed=0)
    row = torch.from_numpy(whole_numbers(1, 1, 30, 4).transpose(0, 2, 1).copy())
    same = (part(row) == part(row + 1000))[0]
    assert same[1::2].all() and not same[::2].all()


def test_few_channels_are_drawn_of_many() -> None:
    part = MiniRocket(40, 30, features=10 * KERNELS)
    part.learn([torch.randn(30, 40)], seed=0)
    each = part.channel.sum(2)
    assert int(each.min()) == 1 and 7 <= int(each.max()) <= 9
    assert math.isclose(float(each.float().log2().mean()), math.log2(10) / 2, rel_tol=0.2)
