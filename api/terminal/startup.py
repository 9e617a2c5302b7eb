"""The start of a command: mostly imports, whose objects all stay, so that looking for garbage among them finds none."""

import gc

NEW_OBJECTS = 500_000  # before the collector looks at them, while a command starts
USUAL = gc.get_threshold()


def begin() -> None:
    """Have Python's garbage collector wait until the command has started: a seventh of the time of a short one."""
    gc.set_threshold(NEW_OBJECTS, *USUAL[1:])


def end() -> None:
    """Collect as usual from now on, but for what is there already. Does nothing unless `begin` was called."""
    if gc.get_threshold()[0] == NEW_OBJECTS:
        gc.freeze()
        gc.set_threshold(*USUAL)
