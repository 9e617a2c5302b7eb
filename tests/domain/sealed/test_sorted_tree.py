"""Sorted trees: what is there is proved, what is not there is shown to be absent, and neither of the other."""

from hypothesis import given
from hypothesis import strategies as st

from domain.sealed.merkle import EMPTY_ROOT, leaf_hash
from domain.sealed.sorted_tree import Placed, SortedTree, is_absent
from tests import rfc6962

KEYS = st.text("abé:~\U0001f600", min_size=1, max_size=3)


def tree_of(keys: set[str]) -> tuple[list[str], SortedTree]:
    ordered = sorted(keys, key=str.encode)
    return ordered, SortedTree([leaf_hash(key.encode()) for key in ordered])


def placed(ordered: list[str], tree: SortedTree, index: int) -> Placed:
    return Placed(ordered[index], leaf_hash(ordered[index].encode()), index, tree.proof(index))


@given(st.sets(KEYS, max_size=20), KEYS)
def test_a_key_is_there_or_absent_and_never_both(keys: set[str], wanted: str) -> None:
    ordered, tree = tree_of(keys)
    size, root = len(ordered), tree.root()
    assert root == (rfc6962.mth([key.encode() for key in ordered]) if ordered else EMPTY_ROOT)
    members = [placed(ordered, tree, index) for index in range(size)]
    assert all(each.is_in(size, root) and each.proof == rfc6962.path(each.index, [k.encode() for k in ordered])
               for each in members)  # fmt: skip
    shown = [
        (before, after)
        for before in (None, *members)
        for after in (None, *members)
        if is_absent(wanted, before, after, size, root=root)
    ]
    if wanted in keys:
        assert shown == []
    else:
        below = sum(key.encode() < wanted.encode() for key in ordered)
        expected = (members[below - 1] if below else None, members[below] if below < size else None)
        assert shown == [expected]


@given(st.sets(KEYS, min_size=1, max_size=20), st.integers(0, 19), st.binary(max_size=4))
def test_a_leaf_that_is_put_in_the_place_of_another_changes_the_root_as_a_new_tree_would(
    keys: set[str], index: int, data: bytes
) -> None:
    ordered, tree = tree_of(keys)
    index %= len(ordered)
    tree.put(index, leaf_hash(data))
    leaves = [leaf_hash(key.encode()) for key in ordered]
    leaves[index] = leaf_hash(data)
    again = SortedTree(leaves)
    assert tree.root() == again.root()
    assert [tree.proof(at) for at in range(len(leaves))] == [again.proof(at) for at in range(len(leaves))]
