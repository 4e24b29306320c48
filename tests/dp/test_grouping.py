"""Labels and files to privacy units: what one unit is, and where that is unclear."""

import numpy as np
import pytest

import tfpriv.dp as dp
from tfpriv.dp.grouping import members_of_groups


def lists(groups):
    return [indices.tolist() for indices in members_of_groups(groups, len(groups))]


@pytest.mark.parametrize(
    "groups",
    [
        ["b", "a", "b"],
        [b"b", b"a", b"b"],
        [7, 1, 7],
        [7, np.int64(1), 7.0],
        np.array([7, 1, 7], "uint8"),
        np.array(["b", "a", "b"]),
        np.array(["b", "a", "b"], object),
        np.array([0.5, 1.5, 0.5], "float32"),
        np.array(["2020-01-02", "2020-01-01", "2020-01-02"], "datetime64[D]"),
        [frozenset("b"), frozenset("a"), frozenset("b")],
    ],
)
def test_equal_labels_are_one_group(groups):
    assert lists(groups) == [[0, 2], [1]]


@pytest.mark.parametrize(
    "label", [None, np.nan, "", "  ", b"", np.datetime64("NaT"), np.float32("nan")]
)
def test_missing_labels_are_refused(label):
    for groups in ([1, label, 1], np.array([1, label, 1], object)):
        with pytest.raises(ValueError, match="missing labels"):
            members_of_groups(groups, 3)
    with pytest.raises(ValueError, match="missing labels"):
        members_of_groups(np.array([1.0, np.nan]), 2)


class NotAvailable:
    """As `pandas.NA`: no comparison is true or false."""

    def __eq__(self, other):
        return self

    def __bool__(self):
        raise TypeError

    __hash__ = object.__hash__


def test_missing_labels_of_pandas_are_refused():
    with pytest.raises(ValueError, match="missing labels"):
        members_of_groups([1, NotAvailable()], 2)


@pytest.mark.parametrize("pair", [(1, "1"), (b"a", "a"), (("a",), "a")])
def test_labels_of_several_types_are_refused(pair):
    groups = np.empty(2, object)
    groups[:] = pair
    with pytest.raises(ValueError, match="several types"):
        members_of_groups(groups, 2)
    if not isinstance(pair[0], tuple):
        with pytest.raises(ValueError, match="several types"):
            members_of_groups(list(pair), 2)


@pytest.mark.parametrize(
    "pair",
    [("Anna", "Anna "), ("a b", "a\t b"), ("Jos\u00e9", "Jose\u0301"), (b"a", b"a\n")],
)
def test_two_spellings_of_one_label_are_refused(pair):
    with pytest.raises(ValueError, match="differ only in white space"):
        members_of_groups([*pair, pair[0]], 3)
    assert lists(["a", "A", "b"]) == [[0], [1], [2]]  # ids may differ in case alone


def test_labels_that_were_rounded_are_refused():
    ids = np.array([2**53, 2**53 + 1])
    assert len(members_of_groups(ids, 2)) == 2
    with pytest.raises(ValueError, match="rounded to one"):
        members_of_groups(ids.astype(float), 2)


@pytest.fixture
def paths(tmp_path):
    made = [tmp_path / f"{i}.txt" for i in range(3)]
    for path in made:
        path.write_text(path.name)
    return made


def load(item):
    return (np.zeros(2),)


@pytest.mark.parametrize(
    "repeat",
    [
        lambda p: [*p, p[0]],
        lambda p: [*map(str, p), f"{p[0].parent}/../{p[0].parent.name}/{p[0].name}"],
        lambda p: [(path, text) for path in p for text in ("a caption", "another")],
    ],
)
@pytest.mark.parametrize("sampler", [dp.PoissonSampler, dp.FixedSizeSampler])
def test_files_in_several_units_are_warned_of(paths, repeat, sampler):
    with pytest.warns(UserWarning, match=r"[13] such files.*0\.txt"):
        sampler(repeat(paths), 2, load=load)


def test_files_in_one_unit_are_not_warned_of(paths, recwarn):
    items = [(path, text) for path in paths for text in ("a caption", "another")]
    options = {"load": load, "max_examples_per_group": 2}
    sampler = dp.PoissonSampler(items, 2, groups=[p for p, _ in items], **options)
    assert sampler.population == 3
    dp.PoissonSampler(paths, 2, load=load)
    dp.PoissonSampler(["a text", "a text"], 1, load=load)  # no files
    dp.PoissonSampler((np.zeros(2), np.zeros(2)), 1)
    assert not recwarn.list
    with pytest.warns(UserWarning, match="3 such files"):
        dp.PoissonSampler(items, 2, groups=range(6), **options)
