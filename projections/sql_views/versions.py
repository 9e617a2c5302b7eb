"""The versions of the SQL views, and all that each has."""

from projections.sql_views import money_views, trading_views
from projections.sql_views.definitions import Version, as_of

NAME = "v1"
_VIEWS = (*trading_views.VIEWS, *money_views.VIEWS)

V1 = Version(
    NAME,
    _VIEWS,
    money_views.COMPOSED,
    (*money_views.FUNCTIONS, *(as_of(NAME, view) for view in _VIEWS if view.has_history)),
)
VERSIONS = (V1,)
