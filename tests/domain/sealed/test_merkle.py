"""The tree against the published vectors of RFC 6962, and against a second implementation written from the RFC."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.sealed import merkle
from tests import rfc6962

# The inputs, roots and proofs of Google's certificate-transparency (merkletree tests) and Trillian.
INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
A, B, C = (
    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
)
D, E, F = (
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
)
INCLUSIONS = {(0, 8): [A, B, C], (5, 8): [D, E, ROOTS[3]]}  # (leaf, size)
CONSISTENCIES = {(1, 8): [A, B, C], (6, 8): [F, E, ROOTS[3]], (2, 5): [B, D]}  # (old size, new size)
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

DATA = [bytes.fromhex(text) for text in INPUTS]
SIZES = [*range(1, 41), 63, 64, 65, 100, 127, 128, 129, 255, 256, 257, 300]


def hashes_of(data: list[bytes]) -> list[bytes]:
    return [merkle.leaf_hash(each) for each in data]


def nodes_over(hashes: list[bytes]) -> merkle.NodeAt:
    """The subtrees of a tree of these leaves, through tiles that are made on demand."""

    def tile_at(level: int, index: int, width: int) -> bytes:
        span = 1 << (merkle.TILE_HEIGHT * level)
        starts = range(index * merkle.TILE_WIDTH * span, len(hashes), span)
        return b"".join(merkle.root(hashes[at : at + span]) for at in starts[:width])

    return merkle.nodes_of(tile_at, len(hashes))


def leaves(count: int, salt: int = 0) -> list[bytes]:
    return [f"{salt}:{n}".encode() for n in range(count)]


def flipped(hash_: bytes, bit: int) -> bytes:
    changed = bytearray(hash_)
    changed[bit // 8 % len(changed)] ^= 1 << bit % 8
    return bytes(changed)


def test_published_roots() -> None:
    assert merkle.root([]).hex() == merkle.EMPTY_ROOT.hex() == EMPTY
    assert [merkle.root(hashes_of(DATA[:size])).hex() for size in range(1, 9)] == ROOTS


@pytest.mark.parametrize(("index", "size"), INCLUSIONS)
def test_published_inclusion_proofs(index: int, size: int) -> None:
    proof = [bytes.fromhex(text) for text in INCLUSIONS[index, size]]
    hashes = hashes_of(DATA[:size])
    assert merkle.inclusion_proof(index, size, nodes_over(hashes)) == proof
    assert merkle.is_included(hashes[index], index, size, proof, bytes.fromhex(ROOTS[size - 1]))


@pytest.mark.parametrize(("old", "new"), CONSISTENCIES)
def test_published_consistency_proofs(old: int, new: int) -> None:
    proof = [bytes.fromhex(text) for text in CONSISTENCIES[old, new]]
    assert merkle.consistency_proof(old, new, nodes_over(hashes_of(DATA[:new]))) == proof
    roots = [bytes.fromhex(ROOTS[size - 1]) for size in (old, new)]
    assert merkle.is_consistent(old, new, *roots, proof)


def test_the_second_implementation_agrees_with_the_published_vectors() -> None:
    assert [rfc6962.mth(DATA[:size]).hex() for size in range(1, 9)] == ROOTS
    for (index, size), path in INCLUSIONS.items():
        assert [each.hex() for each in rfc6962.path(index, DATA[:size])] == path
    for (old, new), proof in CONSISTENCIES.items():
        assert [each.hex() for each in rfc6962.proof(old, DATA[:new])] == proof


@pytest.mark.parametrize("size", SIZES)
def test_every_proof_of_a_tree_is_that_of_the_definition(size: int) -> None:
    data = leaves(size)
    hashes, root = hashes_of(data), rfc6962.mth(data)
    node_at = nodes_over(hashes)
    assert merkle.root(hashes) == root
    for index in range(size):
        proof = merkle.inclusion_proof(index, size, node_at)
        assert proof == rfc6962.path(index, data)
        assert merkle.is_included(hashes[index], index, size, proof, root)
        assert rfc6962.root_by_path(data[index], index, size, proof) == root
    for old in range(1, size + 1):
        proof, old_root = merkle.consistency_proof(old, size, node_at), rfc6962.mth(data[:old])
        assert proof == rfc6962.proof(old, data)
        assert merkle.is_consistent(old, size, old_root, root, proof)
        assert rfc6962.roots_by_proof(old, size, old_root, proof) == (old_root, root)


@given(size=st.integers(1, 700), pick=st.integers(0, 10**9), bit=st.integers(0, 255), which=st.integers(0, 10**9))
def test_a_flipped_bit_breaks_an_inclusion_proof(size: int, pick: int, bit: int, which: int) -> None:
    index, hashes = pick % size, hashes_of(leaves(size))
    root, proof = merkle.root(hashes), merkle.inclusion_proof(index, size, nodes_over(hashes))
    assert merkle.is_included(hashes[index], index, size, proof, root)
    assert not merkle.is_included(flipped(hashes[index], bit), index, size, proof, root)
    assert not merkle.is_included(hashes[index], index, size, proof, flipped(root, bit))
    assert not merkle.is_included(hashes[index], index, size, [*proof, root], root)
    if proof:
        at = which % len(proof)
        assert not merkle.is_included(
            hashes[index], index, size, [*proof[:at], flipped(proof[at], bit), *proof[at + 1 :]], root
        )
        assert not merkle.is_included(hashes[index], index, size, proof[:-1], root)
        other = (index + 1) % size
        assert not merkle.is_included(hashes[index], other, size, proof, root)


@given(new=st.integers(2, 700), pick=st.integers(0, 10**9), bit=st.integers(0, 255), which=st.integers(0, 10**9))
def test_a_flipped_bit_breaks_a_consistency_proof(new: int, pick: int, bit: int, which: int) -> None:
    old, hashes = 1 + pick % (new - 1), hashes_of(leaves(new))
    old_root, new_root = merkle.root(hashes[:old]), merkle.root(hashes)
    proof = merkle.consistency_proof(old, new, nodes_over(hashes))
    assert merkle.is_consistent(old, new, old_root, new_root, proof)
    assert not merkle.is_consistent(old, new, flipped(old_root, bit), new_root, proof)
    assert not merkle.is_consistent(old, new, old_root, flipped(new_root, bit), proof)
    assert not merkle.is_consistent(old, new, old_root, new_root, proof[:-1])
    assert not merkle.is_consistent(old, new, old_root, new_root, [*proof, new_root])
    at = which % len(proof)
    assert not merkle.is_consistent(
        old, new, old_root, new_root, [*proof[:at], flipped(proof[at], bit), *proof[at + 1 :]]
    )


@given(sizes=st.lists(st.integers(0, 600), min_size=1, max_size=6))
def test_a_tree_grown_in_pieces_is_the_tree(sizes: list[int]) -> None:
    hashes, grown, done = hashes_of(leaves(sum(sizes))), merkle.Frontier(), 0
    for size in sizes:
        copy = grown.copy()
        for each in hashes[done : done + size]:
            grown.add(each)
        assert copy.size == done and copy.root() == merkle.root(hashes[:done])
        done += size
        assert (grown.size, grown.root()) == (done, merkle.root(hashes[:done]))


@given(tiles=st.integers(0, 5), more=st.integers(0, 255))
def test_a_tree_grown_by_whole_tiles_is_the_tree(tiles: int, more: int) -> None:
    hashes, grown = hashes_of(leaves(tiles * 256 + more)), merkle.Frontier()
    for tile in range(tiles):
        grown.add(merkle.levels(b"".join(hashes[tile * 256 : tile * 256 + 256]))[-1], merkle.TILE_HEIGHT)
    for each in hashes[tiles * 256 :]:
        grown.add(each)
    assert grown.root() == merkle.root(hashes)


@pytest.mark.slow
def test_proofs_of_trees_with_several_levels_of_tiles() -> None:
    size = 256 * 256 + 256 * 3 + 7
    hashes = hashes_of(leaves(size))
    root, node_at = merkle.root(hashes), nodes_over(hashes)
    for index in (0, 255, 256, 65_535, 65_536, 66_303, size - 1):
        assert merkle.is_included(hashes[index], index, size, merkle.inclusion_proof(index, size, node_at), root)
    for old in (1, 256, 257, 65_535, 65_536, 65_537, size - 7, size - 1):
        proof = merkle.consistency_proof(old, size, node_at)
        assert merkle.is_consistent(old, size, merkle.root(hashes[:old]), root, proof)


@pytest.mark.parametrize(
    ("old", "new", "proof"), [(0, 5, [b"x" * 32]), (5, 5, [b"x" * 32]), (6, 5, []), (-1, 5, []), (3, 5, [])]
)
def test_a_consistency_proof_that_cannot_be_one(old: int, new: int, proof: list[bytes]) -> None:
    root = merkle.root(hashes_of(leaves(5)))
    assert not merkle.is_consistent(old, new, root, root, proof)


def test_what_is_not_in_a_tree_has_no_proof() -> None:
    leaf = merkle.leaf_hash(b"x")
    assert not merkle.is_included(leaf, 0, 0, [], leaf)
    assert not merkle.is_included(leaf, 1, 1, [], leaf)
    assert not merkle.is_included(leaf, -1, 1, [], leaf)
    assert merkle.is_included(leaf, 0, 1, [], leaf)
