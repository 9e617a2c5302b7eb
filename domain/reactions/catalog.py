"""The catalog of all process managers."""

from domain.reactions import breaks, expiry, hedge, loss, marks, switch
from domain.reactions.process import Process

PROCESSES: tuple[Process, ...] = (
    loss.PROCESS,
    switch.PROCESS,
    expiry.PROCESS,
    hedge.PROCESS,
    marks.PROCESS,
    breaks.PROCESS,
)
