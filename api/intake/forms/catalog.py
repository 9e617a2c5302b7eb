"""The catalog of operations: every request that is declared as a form."""

from api.intake.forms import accounts, instruments, orders, positions, settings, transfers
from api.intake.forms.form import Operation

OPERATIONS: tuple[Operation, ...] = (
    *orders.OPERATIONS,
    *instruments.OPERATIONS,
    *positions.OPERATIONS,
    *transfers.OPERATIONS,
    *accounts.OPERATIONS,
    *settings.OPERATIONS,
)
