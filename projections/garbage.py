"""Garbage: Python's full collections, put off while read models are followed.

The rows that a follower keeps are some hundred thousand objects without a cycle. Python would go through all of them
each time a quarter is new, and meanwhile nothing else in the process moves, for a third of a second. So what is there
when following starts is not looked at again, and full collections are rare, and made when nothing is to be folded if
they can be. They are not given up, so that garbage in cycles stays bounded; young objects are collected as ever.
"""

import gc

FULL_EVERY = 1000  # collections of the middle generation, each after some 8,000 new objects: in a million events or two
IDLE_EVERY = 100  # after so many of them a full one is made as soon as there is nothing to do


def put_off() -> None:
    """Collect now, and rarely from now on: in the whole process, for as long as it runs."""
    gc.unfreeze()  # what was frozen and is garbage by now would stay for good
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, FULL_EVERY)


def collect_if_due() -> None:
    """Make a full collection if there was none for long. For whoever has nothing to do."""
    if gc.get_count()[2] >= IDLE_EVERY:
        gc.collect()
