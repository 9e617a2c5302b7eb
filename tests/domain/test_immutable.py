"""Persistent maps: each is what a dict would be, and stays as it is when another one is made of it."""

from hypothesis import given
from hypothesis import strategies as st

from domain.immutable import PersistentMap

names = st.integers(0, 400).map(lambda number: f"N{number}")
changes = st.lists(st.tuples(names, st.none() | st.integers()), max_size=600)


@given(changes)
def test_a_persistent_map_is_what_a_dict_would_be(steps):
    made, known = PersistentMap(), {}
    for name, value in steps:
        before, was = made, dict(known)
        if value is None:
            made = made.drop(name)
            known.pop(name, None)
        else:
            made = made.put(name, value)
            known[name] = value
        if len(steps) < 60:
            assert dict(before.items()) == was
    assert dict(made.items()) == dict(made) == known
    assert len(made) == len(made.items()) == len(known)
    assert all(item in made.items() for item in known.items())
