"""The type hints of forms: what surrounds a value, and what is said of it."""

from types import NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from msgspec import UnsetType

from api.intake.forms.fields import Field
from api.intake.forms.form import Form


def hints_of(form: type[Form]) -> dict[str, Any]:
    """Return the type hint of every field."""
    return get_type_hints(form, include_extras=True)


def described(hint: Any) -> tuple[Any, Field]:
    """Return the plain type of a field, and what is said of it."""
    if get_origin(hint) is Annotated:
        plain, *more = get_args(hint)
        return plain, next((each for each in more if isinstance(each, Field)), Field())
    return hint, Field()


def parts_of(plain: Any) -> tuple[Any, bool, bool, bool]:
    """Return the type of one value, and whether there are several, whether it may be None, and whether UNSET."""
    args = get_args(plain) if get_origin(plain) not in (tuple, None) else ()
    of = next((each for each in args if each not in (NoneType, UnsetType)), plain)
    is_many = get_origin(of) is tuple
    return (get_args(of)[0] if is_many else of), is_many, NoneType in args, UnsetType in args
