"""Rules: every rule that refuses a request or breaks on a venue report, with its code and the sentence that reports it.

Events have the text of the rule that refused or broke, as it has always been stored. `{}` in a text stands for what
differs from one case to the next. In a sentence `{name}` is a fact of the case, `{0}` what the text has at its first
`{}`, `{value}` the fact of that name; a part in brackets is left out where one of its facts is not known.
"""

from typing import NamedTuple

from domain.reasons.codes import Code

EXCEEDED = "{} is not exceeded"
LIMIT_CODES = tuple(code for code in Code if code.name.startswith("MAX_") or code is Code.PRICE_COLLAR)


class Rule(NamedTuple):
    """A rule: its code, its text as raised and stored, the sentence of a case, and which facts are its numbers.

    `requested` names the fact that was requested, `limit` the one it was held against.
    """

    code: Code
    text: str
    sentence: str
    requested: str = ""
    limit: str = ""


_LIMITS = [
    Rule(
        code, EXCEEDED.replace("{}", code),
        "{0} exceeded: {would_be} of {limit}[ {unit}]",
        limit="limit",
    )
    for code in LIMIT_CODES
]  # fmt: skip

_CHECKS = [
    Rule(Code.KILL_SWITCH, "the kill switch is not engaged",
         "the kill switch[ of {whose}] is engaged[ by {engaged_by}][: {reason}]"),
    Rule(Code.KILL_SWITCH_REDUCE_ONLY, "an order reduces a position while the kill switch is at REDUCE_ONLY",
         "the kill switch[ of {whose}] is at REDUCE_ONLY[, engaged by {engaged_by}][: {reason}]; only orders that"
         " reduce"
         " a position pass"),
    Rule(Code.REDUCE_ONLY, "a reduce-only order reduces its strategy's position",
         "a REDUCE_ONLY order of {order_qty} does not reduce the position of {position}[, of which working orders"
         " already close {held}]", "order_qty", limit="position"),
    Rule(Code.MARK_MISSING, "a mark of every instrument that is measured",
         "no mark of {instrument_id} is on record, which the check needs; record one with POST /v1/marks"),
    Rule(Code.MARK_MISSING, "a market order has a mark to value it by",
         "a market order needs a fresh mark of {instrument_id}, and none is on record; record one with POST /v1/marks"),
    Rule(Code.MARK_MISSING, "a mark to hold a price against",
         "PRICE_COLLAR needs a fresh mark of {instrument_id}, and none is on record; record one with POST /v1/marks"),
    Rule(Code.MARK_STALE, "a fresh mark",
         "the newest mark of {instrument_id}[, {price},] is {age_ms} ms old, and may be {age_max_ms} ms old; record a"
         " newer one with POST /v1/marks", "age_ms", limit="age_max_ms"),
    Rule(Code.CONVERSION_MISSING, "an instrument to convert currencies by",
         "nothing converts {held_in} to {wanted}; set a conversion by an instrument of both"),
    Rule(Code.CONTRACT_UNKNOWN, "an instrument whose contract is on record",
         "the contract of {instrument_id} is not on record; list the instrument"),
    Rule(Code.CAPITAL_UNKNOWN, "a capital on record; assess the account with its capital first",
         "no capital of the account is on record, which the limit is a fraction of; assess the account with its"
         " capital"),
    Rule(Code.EQUITY_NOT_POSITIVE, "equity above zero", "the equity is {equity}[ {currency}], not above zero"),
    Rule(Code.EQUITY_NOT_POSITIVE, "equity above zero at its highest",
         "the highest equity was {equity}, not above zero"),
]  # fmt: skip

_ORDERS = [
    Rule(Code.LOT_SIZE, "order_qty in steps of the lot size",
         "order_qty {order_qty} is no multiple of the lot size {lot_size}", "order_qty", limit="lot_size"),
    Rule(Code.TICK_SIZE, "price in steps of the tick size",
         "price {price} is no multiple of the tick size {tick_size}", "price", limit="tick_size"),
    Rule(Code.INSTRUMENT_DELISTED, "the instrument is not delisted",
         "the instrument is delisted since {delisted_at}"),
    Rule(Code.INSTRUMENT_EXPIRED, "the instrument is not expired", "the instrument expired at {expiry}"),
    Rule(Code.UNKNOWN_ACCOUNT, "the account is open; open it first",
         "account {account_id} is not on record; open it first"),
    Rule(Code.ACCOUNT_CLOSED, "the account is open; it is closed",
         "account {account_id} is closed[ since {closed_at}]"),
    Rule(Code.UNKNOWN_INSTRUMENT, "the instrument is listed; list it first",
         "instrument {instrument_id} is not listed; list it first"),
    Rule(Code.UNKNOWN_ORDER, "an order on record", "order {cl_ord_id} of account {account_id} is not on record"),
    Rule(Code.UNKNOWN_ORDER, "a parent order on record", "parent order {cl_ord_id} is not on record"),
    Rule(Code.CL_ORD_ID_USED, "one cl_ord_id names one order",
         "cl_ord_id {cl_ord_id} is used already[, for order {order}]; use a new one"),
    Rule(Code.CL_ORD_ID_USED, "one cl_ord_id names one order or request",
         "cl_ord_id {requested_as} is used already; use a new one"),
    Rule(Code.CL_ORD_ID_USED, "one cl_ord_id names one request",
         "cl_ord_id {requested_as} is used already; use a new one"),
    Rule(Code.CL_ORD_ID_USED, "one cl_ord_id names one parent order",
         "cl_ord_id {cl_ord_id} names a parent order with other terms; use a new one"),
    Rule(Code.ORDER_CLOSED, "an open order", "order {cl_ord_id} is {status}, and no longer open"),
    Rule(Code.ORDER_CLOSED, "an order that is not closed", "order {cl_ord_id} is {status}, and closed"),
    Rule(Code.ORDER_TERMS_UNKNOWN, "an order whose terms are on record",
         "the terms of order {cl_ord_id} are not on record: it was found at the venue"),
    Rule(Code.PRICE_REQUIRED, "{} has a price above zero", "{0} needs a price above zero"),
    Rule(Code.PRICE_NOT_ALLOWED, "{} has no price", "{0} takes no price, and {price} is given"),
    Rule(Code.STOP_PX_REQUIRED, "{} has a stop_px above zero", "{0} needs a stop_px above zero"),
    Rule(Code.STOP_PX_NOT_ALLOWED, "{} has no stop_px", "{0} takes no stop_px, and {stop_px} is given"),
    Rule(Code.PEG_OFFSET, "a trailing-stop order, and no other, has a peg_offset_value",
         "a trailing-stop order, and no other, has a peg_offset_value; this one is {ord_type}[ with"
         " {peg_offset_value}]"),
    Rule(Code.PEG_OFFSET, "peg_offset_value below {} basis points",
         "peg_offset_value {peg_offset_value} is not below {0} basis points", "peg_offset_value"),
    Rule(Code.EXPIRE_TIME, "a GTD order, and no other, has an expire_time",
         "a GTD order, and no other, has an expire_time; this one is {time_in_force}[ with {expire_time}]"),
    Rule(Code.EXPIRE_TIME_PAST, "expire_time after transact_time",
         "expire_time {expire_time} is not after {transact_time}, when the order was sent"),
    Rule(Code.POST_ONLY, "a post-only order has a price and may rest",
         "a POST_ONLY order has a price and may rest, which {ord_type} {time_in_force} may not"),
    Rule(Code.DISPLAY_QTY, "an order with a display_qty has a price and may rest",
         "an order with a display_qty has a price and may rest, which {ord_type} {time_in_force} may not"),
    Rule(Code.DISPLAY_QTY, "display_qty at most order_qty",
         "display_qty {display_qty} is above order_qty {order_qty}", "display_qty", limit="order_qty"),
    Rule(Code.REPLACE_UNCHANGED, "a replacement changes something", "the replacement changes nothing of {cl_ord_id}"),
    Rule(Code.REPLACE_FILLED, "a filled order can only grow",
         "the order is filled: order_qty {order_qty} is not above the {cum_qty} executed",
         "order_qty", limit="cum_qty"),
    Rule(Code.ORIG_CL_ORD_ID, "orig_cl_ord_id names the order, or a replacement of it under way",
         "orig_cl_ord_id {orig_cl_ord_id} names neither the order nor a replacement of it that is under way"),
    Rule(Code.UNKNOWN_PARENT, "a child's parent is on record", "parent order {parent} is not on record"),
    Rule(Code.PARENT_CLOSED, "a child's parent is open", "parent order {parent} is closed"),
    Rule(Code.PARENT_MISMATCH, "a child has its parent's side, strategy and contract",
         "the order is {side} {instrument_id} in {strategy_id}, and its parent {parent} another side, instrument or"
         " strategy"),
    Rule(Code.PARENT_PRICE, "a child keeps to its parent's price",
         "the order may trade at a worse price than its parent's {limit}", "price", limit="limit"),
    Rule(Code.PARENT_QTY, "children do not exceed their parent",
         "order_qty {order_qty} and the {taken} of the parent's other orders are above its {parent_qty}", "order_qty",
         limit="parent_qty"),
]  # fmt: skip

_VALUES = [
    Rule(Code.INVALID_VALUE, "{} is {}", "{0} {value} is not {1}", "{0}"),
    Rule(Code.INVALID_VALUE, "the name of a key is {}", "the name {name} is not {0}"),
    Rule(Code.INVALID_VALUE, "the name of a key does not begin with {}",
         "the name {name} begins with {0}; use another"),
    Rule(Code.INVALID_VALUE, "source is {}", "source {source} is not {0}"),
    Rule(Code.INVALID_VALUE, "subject_id is {}", "subject_id {subject_id} is not {0}"),
    Rule(Code.INVALID_VALUE, "instrument_id is {}", "instrument_id {instrument_id} is not {0}"),
    Rule(Code.INVALID_VALUE, "a personal text is one line of 1 to {} characters",
         "a personal text is one line of 1 to {0} characters"),
    Rule(Code.VALUE_NOT_POSITIVE, "{} above zero", "{0} {value} is not above zero", "{0}"),
    Rule(Code.VALUE_NOT_POSITIVE, "a quantity above zero", "quantity {quantity} is not above zero", "quantity"),
    Rule(Code.VALUE_NOT_POSITIVE, "an underlying price above zero",
         "underlying_px {underlying_px} is not above zero", "underlying_px"),
    Rule(Code.VALUE_OUT_OF_RANGE, "{} below 1e{} with at most {} places",
         "{0} {value} is not below 1e{1} with at most {2} places", "{0}"),
    Rule(Code.VALUE_OUT_OF_RANGE, "money_places from 0 to {}", "money_places {money_places} is not from 0 to {0}",
         "money_places"),
    Rule(Code.VALUE_OUT_OF_RANGE, "starts_at_hour from 0 to 23",
         "starts_at_hour {starts_at_hour} is not from 0 to 23", "starts_at_hour"),
    Rule(Code.VALUE_OUT_OF_RANGE, "a batch has 1 to {} prices", "a batch of {count} prices; it has 1 to {0}", "count"),
    Rule(Code.VALUE_OUT_OF_RANGE, "a batch has an id for each of its prices",
         "the ids {first_id} to {last_id} are not one for each price of the batch"),
    Rule(Code.VALUE_OUT_OF_RANGE, "a proposal is valid for 1 to {} hours",
         "valid_hours {valid_hours} is not from 1 to {0}", "valid_hours"),
    Rule(Code.REASON_REQUIRED, "a reason of 1 to {} characters", "a reason of 1 to {0} characters is needed"),
    Rule(Code.REASON_REQUIRED, "a reason of at most {} characters", "the reason is longer than {0} characters"),
    Rule(Code.REASON_REQUIRED, "a break resolved by hand has a reason", "a break that is dismissed needs a reason"),
    Rule(Code.REASON_REQUIRED, "a subject is forgotten for a reason", "to forget {subject_id} needs a reason"),
]  # fmt: skip

_INSTRUMENTS = [
    Rule(Code.INSTRUMENT_LISTED, "an instrument is listed once with one set of facts; amend it",
         "{instrument_id} is listed already, with other facts; amend it"),
    Rule(Code.INSTRUMENT_AMENDMENT, "an amendment keeps kind and currencies; list another instrument",
         "an amendment keeps kind and currencies; list another instrument"),
    Rule(Code.INSTRUMENT_AMENDMENT, "an amendment holds from after the last one",
         "effective_at {effective_at} is not after the last amendment, of {last}"),
    Rule(Code.CONTRACT_TERMS, "{} settles in {}", "{0} settles in {1}, not in {settle}"),
    Rule(Code.CONTRACT_TERMS, "base and quote are two currencies", "base and quote are both {base}"),
    Rule(Code.CONTRACT_TERMS, "spot has a contract size of 1 and no expiry",
         "spot has a contract size of 1 and no expiry[; the size is {contract_size}]"),
    Rule(Code.CONTRACT_TERMS, "an option has strike, put_or_call and expiry",
         "an option has strike, put_or_call and expiry, and one of them is not given"),
    Rule(Code.CONTRACT_TERMS, "only an option has a strike", "only an option has a strike or put_or_call"),
]  # fmt: skip

_ACCOUNTS = [
    Rule(Code.ACCOUNT_CONVENTIONS, "an account is opened once, by one set of conventions",
         "account {account_id} is open already, by other conventions[: {base_currency}, {cost_basis}, {fee_policy}]"),
    Rule(Code.ACCOUNT_OWNER, "an account's owner is named once, when it is opened",
         "the owner of account {account_id} is named once, when it is opened"),
    Rule(Code.ACCOUNT_RESERVED, "an account id other than the firm's own",
         "{account_id} is the firm itself; use another account id"),
    Rule(Code.ACCOUNT_NOT_EMPTY, "an account is closed with all balances at zero",
         "the account still has {balance} {currency}"),
    Rule(Code.ACCOUNT_NOT_EMPTY, "an account is closed with all positions flat",
         "the account still has {count} positions, the first in {first}"),
    Rule(Code.ACCOUNT_NOT_EMPTY, "an account is closed with no working orders",
         "the account still has {count} working orders, the first {first}"),
    Rule(Code.ACCOUNT_NOT_EMPTY, "an account is closed with no pending transfers",
         "the account still has {count} pending transfers, the first {first}"),
    Rule(Code.ACCOUNT_NOT_EMPTY, "an account is closed with no open breaks",
         "the account still has {count} open breaks, the first {first}"),
    Rule(Code.TRANSFER_ACCOUNTS, "a transfer is between two accounts",
         "{counter_account_id} is both accounts of the transfer"),
    Rule(Code.TRANSFER_ACCOUNTS, "a transfer of two accounts is requested for the debited one",
         "a transfer between two accounts is requested for the debited one[, which is {counter_account_id}]"),
    Rule(Code.TRANSFER_ID_USED, "one transfer_id names one transfer",
         "transfer_id {transfer_id} names another transfer[, of {quantity} at a cost of {cost}]; use a new one"),
    Rule(Code.OVERDRAWN, "a cash account is not overdrawn",
         "{amount} {currency} requested of {available} available", "amount", limit="available"),
    Rule(Code.UNKNOWN_BREAK, "an open break", "break {break_id} of account {account_id} is not open"),
    Rule(Code.SUBJECT, "a subject that is known or new; this one was forgotten, and a new one needs another id",
         "subject {subject_id} was forgotten; a new person needs a new id"),
    Rule(Code.SUBJECT, "the subject is known; `daybook account list` shows owners",
         "subject {subject_id} is not known; `daybook account list` shows owners"),
]  # fmt: skip

_CONTROLS = [
    Rule(Code.LIMIT_VALUE, "a limit of zero or more", "limit {limit} is below zero", "limit"),
    Rule(Code.LIMIT_VALUE, "a count of orders is a whole number of at most {}",
         "limit {limit} is no whole number of at most {0}", "limit"),
    Rule(Code.LIMIT_VALUE, "a drawdown is a fraction of equity, from 0 to 1",
         "limit {limit} is no fraction of equity, from 0 to 1", "limit"),
    Rule(Code.LIMIT_CURRENCY, "a notional limit has a currency, a quantity limit none",
         "a limit of money has a currency, all others have none; {measure} has [{currency}]"),
    Rule(Code.LIMIT_SCOPE, "a drawdown is that of a whole account, or of the firm",
         "MAX_DRAWDOWN is of a whole account, or of the firm; leave out strategy, instrument, venue and asset"),
    Rule(Code.LIMIT_SCOPE, "an instrument is of the scope's venue",
         "instrument {instrument_id} is not of venue {venue}"),
    Rule(Code.FIRM_UNLIMITED, "a firm with limits; set one first", "the firm has no limits; set one first"),
    Rule(Code.SECOND_PERSON, "a kill switch is released by another actor than who engaged it",
         "{engaged_by} engaged the kill switch; another actor releases it"),
    Rule(Code.ACTOR_REQUIRED, "an actor is named", "an actor has to be named"),
    Rule(Code.CONVERSION_CONTRACT, "currencies are converted by spot or a perpetual",
         "{instrument_id} converts no currencies: only spot and perpetuals do"),
    Rule(Code.MARK_VALUE, "a mark above zero", "the mark {price} of {instrument_id} is not above zero", "price"),
    Rule(Code.MARK_VALUE, "one mark an instrument", "two marks of {instrument_id} are given"),
]  # fmt: skip

_POSITIONS = [
    Rule(Code.MOVE_TARGET, "a move is to another holder of the same instrument",
         "a move is to another account or strategy, in the same instrument"),
    Rule(Code.MOVE_QTY, "no more is moved than is held",
         "{quantity} requested of {held} held", "quantity", limit="held"),
    Rule(Code.OUT_OF_SEQUENCE, "a move comes after what is on record",
         "transact_time {transact_time} is before the last booking, of {last}"),
    Rule(Code.NOT_EXPIRED, "a contract is settled at its expiry", "the contract expires at {expiry}, after {at}"),
    Rule(Code.SETTLEMENT_ID_USED, "one settlement_id names one settlement",
         "settlement_id {settlement_id} is used already; use a new one"),
    Rule(Code.LOT_ASSIGNMENT, "lots are assigned where cost is kept by SPECIFIC identification",
         "lots are assigned where cost is kept by SPECIFIC identification, and here by {cost_basis}"),
    Rule(Code.LOT_ASSIGNMENT, "lots are assigned to a disposal on record",
         "execution {exec_id} is no disposal on record"),
    Rule(Code.LOT_ASSIGNMENT, "each assigned lot is named once", "a lot is named twice for {exec_id}"),
    Rule(Code.LOT_ASSIGNMENT, "an assigned lot was open at the disposal",
         "lot {lot_id} was not open at the disposal {exec_id}"),
]  # fmt: skip

_ACCESS = [
    Rule(Code.KEY_RIGHTS, "keys are managed by a valid key with the scope admin",
         "keys are managed by a valid key with the scope admin, and this one is not"),
    Rule(Code.KEY_RIGHTS,
         "a key gives no scope that it has not itself; let a key with that scope, or an operator, do it",
         "a key with the scopes {own} cannot give {beyond}; let a key with that scope, or an operator, do it"),
    Rule(Code.KEY_RIGHTS, "a proposal is approved by a key with the scope admin",
         "proposal {proposal_id} is approved by a key with the scope admin, and this one is not"),
    Rule(Code.KEY_RIGHTS, "the key that proposed it is valid and has the scope admin still",
         "the key that made proposal {proposal_id} is not valid any more, or has not the scope admin"),
    Rule(Code.KEY_ID_USED, "one key_id names one key", "key_id {key_id} is used already"),
    Rule(Code.UNKNOWN_KEY, "the key is on record; list keys to see which are",
         "key {key_id} is not on record; list keys to see which are"),
    Rule(Code.KEY_REVOKED, "a revoked key stays revoked; issue another one",
         "key {key_id} is revoked, and stays so; issue another one"),
    Rule(Code.KEY_SCOPES, "a key has scopes out of {}", "the scopes {scopes} are not out of {0}"),
    Rule(Code.SECOND_PERSON, "what needs a second person is requested under an API key or an account",
         "{action} needs a second person, and is requested under an API key or an account"),
    Rule(Code.SECOND_PERSON, "a proposal is approved under an API key or an account",
         "proposal {proposal_id} is approved under an API key or an account"),
    Rule(Code.SECOND_PERSON, "a proposal is rejected under an API key or an account",
         "proposal {proposal_id} is rejected under an API key or an account"),
    Rule(Code.SECOND_PERSON, "a proposal is approved by another person than who made it; both have {}",
         "proposal {proposal_id} is approved by another person than who made it; both have {0}"),
    Rule(Code.SECOND_PERSON,
         "a proposal is approved by another person than who issued the key, and has seen its secret",
         "proposal {proposal_id} is approved by another person than who issued the key {key_id}, and has seen its"
         " secret"),
    Rule(Code.SECOND_PERSON, "a proposal is not approved by a proposal",
         "proposal {proposal_id} is not approved by a proposal"),
    Rule(Code.UNKNOWN_PROPOSAL, "the proposal is on record; list those that wait",
         "proposal {proposal_id} is not on record; list those that wait"),
    Rule(Code.PROPOSAL_DECIDED, "only a pending proposal is decided; request the action again",
         "proposal {proposal_id} is {status}, and no longer pending; request the action again"),
    Rule(Code.PROPOSALS_FULL, "at most {} proposals wait; approve or reject some",
         "{0} proposals wait already; approve or reject some", limit="pending"),
]  # fmt: skip

_RECORDS = [
    Rule(Code.CLOSING, "a place in the log has the figures that were closed there: these are others; run "
         "`daybook verify --figures`",
         "the figures closed as of seq {as_of_seq} are not those of now; run `daybook verify --figures`"),
    Rule(Code.CLOSING, "a closing is as of a later place in the log than the one before",
         "seq {as_of_seq} is before the last closing, as of seq {on_record}"),
    Rule(Code.CLOSING, "the day is closed: the closing as of seq {} is of the days before {}; make a newer one with "
         "`daybook close`",
         "day {day} is not closed: the closing as of seq {0} is of the days before {1}; make a newer one with"
         " `daybook close`"),
    Rule(Code.NOTHING_RECORDED, "there is something to close: record an event first",
         "there is nothing to close; record an event first"),
    Rule(Code.NOTHING_RECORDED, "something of the ledger is sealed: record an event first",
         "nothing of the ledger is sealed; record an event first"),
    Rule(Code.NOTHING_RECORDED, "there is a checkpoint to hand over by; the first key is made with the first one",
         "there is no checkpoint to hand over by; the first key is made with the first one"),
    Rule(Code.NOTHING_RECORDED, "the selection has events", "the selection has no events"),
    Rule(Code.OTHER_FORMAT, "its figures are of format {}; this needs a newer Daybook",
         "its figures are of format {found}, and this Daybook reads {0}; use a newer one"),
    Rule(Code.OTHER_FORMAT, "a proof of a figure is {}; this one needs another Daybook",
         "the proof is of format {format}, and this Daybook reads {0}; use another"),
    Rule(Code.OTHER_FORMAT, "a bundle is {}; this one needs another Daybook",
         "the bundle is of format {format}, and this Daybook reads {0}; use another"),
    Rule(Code.OTHER_FORMAT, "only a bundle of a whole ledger restores one: this is a part",
         "this bundle is a part of a ledger, of {events} events; only a whole one restores it"),
    Rule(Code.CHECKPOINT_SIZE, "a proof is compared with the checkpoint it is made by, of {} events: have it made with "
         "--checkpoint {}",
         "the proof is made by the checkpoint of {0} events; have it made with --checkpoint {1}"),
    Rule(Code.CHECKPOINT_SIZE, "a part is compared with the checkpoint it is proved by, or a whole bundle with any: "
         "have it exported with --checkpoint {}",
         "the part is proved by the checkpoint of {size} events; have it exported with --checkpoint {0}"),
    Rule(Code.CHECKPOINT_SIZE, "the larger tree comes second", "{smaller} is not smaller than {larger}"),
    Rule(Code.CHECKPOINT_SIZE, "a checkpoint of this size was signed: GET /v1/checkpoints lists all",
         "no checkpoint of {size} events was signed; GET /v1/checkpoints lists all"),
    Rule(Code.FILE_NOT_WRITABLE, "{} can be written ({})", "{0} cannot be written: {1}"),
    Rule(Code.FILE_NOT_WRITABLE, "a key can be pinned in {} ({})", "no key can be pinned in {0}: {1}"),
    Rule(Code.KEY_FILE, "{} has a key that can be used ({})", "{0} has no key that can be used: {1}"),
    Rule(Code.KEY_FILE, "no other process witnesses with {}: stop that one first",
         "another process witnesses with {0}; stop that one first"),
    Rule(Code.KEY_FILE, "keys are pinned in a home that this account has made: {}",
         "keys are pinned in a home that this account has made: {0}"),
    Rule(Code.DATABASE_SETUP, "the owner is an account that may log in (CREATE ROLE … LOGIN)",
         "{owner} is no account that may log in (CREATE ROLE … LOGIN)"),
    Rule(Code.DATABASE_SETUP, "the database exists, or --create is given",
         "database {database} does not exist; create it, or give --create"),
    Rule(Code.DATABASE_SETUP, "names for the roles are free",
         "no names for the roles are free, the first being {first}"),
    Rule(Code.DATABASE_SETUP, "the name of a login is free, or a reader's of this database",
         "the name {login} is taken by another login"),
    Rule(Code.DATABASE_SETUP, "the login is a reader of this database", "{login} is no reader of this database"),
    Rule(Code.DATABASE_SETUP, "no sealer works on the database; stop `daybook serve` first",
         "a sealer works on the database; stop `daybook serve` first"),
    Rule(Code.DATABASE_SETUP, "a ledger is restored into an empty database; name a new one",
         "a ledger is restored into an empty database, and this one is not; name a new one"),
    Rule(Code.READ_MODEL_VERSION, "a rebuild of {} has kept the rows that it replaced",
         "no rebuild of {0} has kept the rows that it replaced"),
    Rule(Code.READ_MODEL_VERSION, "the kept rows of {} are of the version that this Daybook folds",
         "the kept rows of {0} are of version {version_of_rows}, and this Daybook folds {version}"),
    Rule(Code.READ_MODEL_VERSION, "the rows of {} are of the version that this Daybook folds",
         "the rows of {0} are of version {version_of_rows}, and this Daybook folds {version}"),
    Rule(Code.CLOCK_DIFFERS, "a clock is confirmed where the database's clock agrees with it: correct the one that is "
         "wrong, or confirm with --database-differs that it is the database's, and stays so",
         "the database's clock is at {databases}, and ours at {ours}: correct the one that is wrong, or confirm with"
         " --database-differs that it is the database's, and stays so"),
]  # fmt: skip

BREAKS = [
    Rule(Code.EXEC_ID_CONFLICT, "one exec_id has one content",
         "the exec_id is on record with another content; this one is not booked"),
    Rule(Code.ID_CONFLICT, "one id has one content",
         "the id is on record with another content; this one is not booked"),
    Rule(Code.EXECUTION_ELSEWHERE, "an execution is on record under one order",
         "the execution is on record under another order"),
    Rule(Code.ORDER_ID_CONFLICT, "one order_id names one order", "the venue's order_id leads to another order"),
    Rule(Code.AMENDED_FILL_UNKNOWN, "an amended fill is on record",
         "the fill it amends is not on record; it is booked when that fill arrives"),
    Rule(Code.REPORT_OF_UNKNOWN_ORDER, "a report of an order on record", "the order was not on record before"),
    Rule(Code.ANSWER_WITHOUT_REQUEST, "an answer is to a request on record", "no request on record has this answer"),
    Rule(Code.FILL_MISMATCH, "a fill has its order's instrument and side",
         "the fill is of another instrument or side than its order"),
    Rule(Code.ACCEPTED_MISMATCH, "an order is accepted with its instrument and side",
         "the venue accepted another instrument or side than was ordered"),
    Rule(Code.FILL_OF_CLOSED_ORDER, "a fill is of an open order", "the order was closed when it was filled"),
    Rule(Code.OVERFILL, "a fill is within leaves_qty", "more is filled than was ordered"),
    Rule(Code.STATE_MISMATCH, "{} fits an order that is {}", "{0} does not fit an order that is {1}"),
    Rule(Code.STATUS_MISMATCH, "an order that the venue has as {} is so here",
         "the venue has the order as {0}, and it is not so here"),
    Rule(Code.OVERSOLD, "a spot position is not below zero",
         "the spot position is below zero: an acquisition was not reported"),
    Rule(Code.CASH_BELOW_ZERO, "a cash account is not below zero", "the cash account is below zero"),
    Rule(Code.ACCOUNT_CLOSED, "a closed account takes no new business", "the account is closed"),
    Rule(Code.TRANSFER_DIFFERS, "a transfer settles as it was announced",
         "the transfer settled otherwise than announced"),
    Rule(Code.TRANSFER_DIFFERS, "a transfer returns as it was announced",
         "the transfer returned otherwise than announced"),
]  # fmt: skip

REFUSALS = [
    *_LIMITS, *_CHECKS, *_ORDERS, *_VALUES, *_INSTRUMENTS, *_ACCOUNTS, *_CONTROLS, *_POSITIONS, *_ACCESS, *_RECORDS,
]  # fmt: skip
RULES = (*REFUSALS, *BREAKS)
NOT_BOOKED = frozenset({Code.EXEC_ID_CONFLICT, Code.ID_CONFLICT, Code.AMENDED_FILL_UNKNOWN})
