"""Version 1 of the SQL views."""

from projections.sql_views import v1_money, v1_trading
from projections.sql_views.definitions import Version, as_of

NAME = "v1"
_VIEWS = (*v1_trading.VIEWS, *v1_money.VIEWS)

V1 = Version(
    NAME,
    _VIEWS,
    v1_money.COMPOSED,
    (*v1_money.FUNCTIONS, *(as_of(NAME, view) for view in _VIEWS if view.has_history)),
)
VERSIONS = (V1,)
