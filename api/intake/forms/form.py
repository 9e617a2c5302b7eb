"""A form is the fields of one request as callers fill them in; an operation is its route and its command.

From an operation `api.intake.forms.http` makes the route with its OpenAPI schema and example, and
`api.intake.forms.cli` the command with its help, so that both take the same fields by the same rules. A field says with
`Field` what it means. Fields that the path names are parameters of the path; the command takes them, and those in
`arguments`, as arguments.

A request is carried out once by its natural key: the domain adds no event for one that is in effect already.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from msgspec import Struct

from api.problems import not_found
from domain.access import Scope

if TYPE_CHECKING:
    from api.daybook import Daybook
    from domain.ledger import Report, Request

Record = dict[str, Any]


class Look(Protocol):
    """Returns the present state of a stream; None of an empty one."""

    def __call__(self, stream: str, /) -> Any:
        """Return the state."""


class Form(Struct, frozen=True, kw_only=True):
    """The fields of one request."""

    def request(self, daybook: "Daybook", at: datetime) -> "Request | Report":
        """Return the request of the domain, made at this moment. Raises Problem and InvalidInput."""
        raise NotImplementedError

    def record(self, look: Look) -> Record:
        """Return what is on record after the request, for the answer."""
        raise NotImplementedError


class Operation(NamedTuple):
    """A request over HTTP and on the command line.

    `name` is its operation id; `said` what the command prints, formatted with the answer's fields; `example` the fields
    of a request that is accepted in the example book, of the path and of the body; `usage` the same as a command.
    """

    name: str
    form: type[Form]
    path: str
    command: str
    scope: Scope
    answer: str
    said: str
    example: Mapping[str, Any]
    usage: str
    method: str = "POST"
    tag: str = "requests"
    arguments: tuple[str, ...] = ()
    can_wait: bool = False  # for a second person
    is_hidden: bool = False  # an alias, which is not a command of its own
    schema: str = ""  # the name of its body's schema, where it is not that of the form

    @property
    def path_fields(self) -> tuple[str, ...]:
        """The fields that the path names."""
        return tuple(part[1:-1].partition(":")[0] for part in self.path.split("/") if part.startswith("{"))

    @property
    def body_name(self) -> str:
        """The name of its body's schema."""
        return self.schema or self.form.__name__.removesuffix("Form") + "Request"

    @property
    def description(self) -> str:
        """What the operation does: the docstring of its form, without line breaks in a paragraph."""
        paragraphs = (self.form.__doc__ or "").strip().split("\n\n")
        return "\n\n".join(" ".join(each.split()) for each in paragraphs)


def known(state: Any, what: str, **facts: Any) -> Any:
    """Return a state that has to be on record. Raises Problem."""
    if state is None:
        raise not_found(what, **facts)
    return state
