"""Operations on the command line: the command of each, with its options, its help and an example."""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from inspect import Parameter, Signature
from typing import Annotated, Any

import typer
from msgspec import NODEFAULT, UNSET
from msgspec.structs import fields as fields_of

from api.clock import now
from api.encoding import grouped, plain
from api.intake.forms.fields import REMOVED, Field, described, hints_of, parts_of
from api.intake.forms.form import Operation
from api.terminal.options import by, opened
from api.terminal.output import Json, note, say, write_json
from api.terminal.requests import requested

SHORT = {"account_id": "account", "strategy_id": "strategy", "instrument_id": "instrument"}
_REMOVED = object()


def add_commands(operations: Iterable[Operation], groups: Mapping[str, typer.Typer]) -> None:
    """Add the command of each operation to the group that its first word names."""
    for operation in operations:
        if not operation.is_hidden:
            group, _, name = operation.command.partition(" ")
            groups[group].command(name=name, help=_help(operation))(_command(operation))


def _help(operation: Operation) -> str:
    return f"{operation.description}\n\nExample: daybook {operation.usage}"


def _command(operation: Operation) -> Callable[..., None]:
    """Return the function of a command: its signature is what typer derives the options from."""

    def run(*, json: bool, **given: Any) -> None:
        form = operation.form(**{name: _value(each, given[name]) for name, each in defaults.items()})
        with opened() as daybook:
            request = form.request(daybook, now())
            done = requested(daybook, request, json=json)
            record = form.record(daybook.writer.state)
        if json:
            write_json(record | {"is_changed": bool(done.records)})
            return
        say(operation.said.format_map({name: _shown(value) for name, value in record.items()}))
        if not done.records:
            note("It was in effect already: nothing has changed.")

    defaults = {each.name: each.default for each in fields_of(operation.form)}
    hints = hints_of(operation.form)
    parameters = [_parameter(operation, name, hints[name], default) for name, default in defaults.items()]
    parameters.sort(key=lambda one: one.name not in operation.arguments)
    parameters.append(Parameter("json", Parameter.KEYWORD_ONLY, annotation=Json, default=False))
    run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    run.__name__ = operation.name
    return run


def _value(default: Any, given: Any) -> Any:
    """Return the value of a field: UNSET or the form's default for an option that was not given."""
    if given is _REMOVED:
        return None
    if given is None:
        return UNSET if default is UNSET else None if default is NODEFAULT else default
    return tuple(given) if isinstance(given, list) else given


def _parameter(operation: Operation, name: str, hint: Any, default: Any) -> Parameter:
    of_hint, said = described(hint)
    of, is_many, is_optional, is_unset = parts_of(of_hint)
    if said.cli_default is not UNSET:
        default = said.cli_default
    if default is UNSET or (is_many and default == ()):
        default = None
    shown = said.help + (f"; {REMOVED} removes it" if is_unset and is_optional else "")
    more: dict[str, Any] = {"help": shown[:1].upper() + shown[1:] + "." if shown else None}
    if said.kind is not None:
        more |= {"parser": _parser(said, name, can_remove=is_unset and is_optional), "metavar": said.kind.metavar}
    kind = list[of] if is_many else of  # type: ignore[valid-type]
    if default is None:
        kind = kind | None
    if name in operation.arguments:
        more["metavar"] = name.upper()
        return _made(name, Annotated[kind, typer.Argument(**more)], default)
    option = said.option or f"--{SHORT.get(name, name.replace('_', '-'))}"
    if of is bool:
        option = f"{option}/--no-{option.removeprefix('--')}"
    return _made(name, Annotated[kind, typer.Option(option, **more)], default)


def _made(name: str, annotation: Any, default: Any) -> Parameter:
    given = Parameter.empty if default is NODEFAULT else default
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=annotation, default=given)


def _parser(said: Field, name: str, *, can_remove: bool) -> Callable[[str], Any]:
    kind = said.kind
    assert kind is not None, "a kind parses its text"
    parsed = by(lambda text: kind.parse(text, name))

    def parse(text: Any) -> Any:
        if not isinstance(text, str):
            return text  # a default
        return _REMOVED if can_remove and text == REMOVED else parsed(text)

    return parse


def _shown(value: Any) -> str:
    """Return a value as people read it: a number grouped, an amount with its currency, of a list how many there are."""
    if isinstance(value, Decimal):
        return grouped(value)
    if value is None:
        return "none"
    if isinstance(value, list):
        return ", ".join(value) if value and all(isinstance(each, str) for each in value) else str(len(value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    shown = plain(value)
    return " ".join(map(str, shown.values())) if isinstance(shown, dict) else str(shown)
