"""The results of a derivation, as text and as JSON."""

from typing import Any

import msgspec

from adapters.verify.derivation import OfBundle
from api.terminal.output import note, say
from domain.ledger import DerivationFault, Derived

NOT_DERIVED = (
    "The bytes are what was signed; no request or report on record leads to them by this release. Either a person with "
    "the database and the key wrote them, or a release decided otherwise: compare with a copy kept elsewhere"
)


def what_does_not_follow(derived: Derived) -> str:
    """Return the first event that does not follow, as an error; "" if all do."""
    if not derived.faults:
        return ""
    more = f" {derived.faults_count - 1:,} more do not follow." if derived.faults_count > 1 else ""
    return f"{derived.faults[0]}.{more} {NOT_DERIVED}"


def derived_json(derived: Derived) -> dict[str, Any]:
    """Return the result as JSON."""
    return {
        "is_derived": not derived.faults,
        "events": derived.events,
        "units": derived.units,
        "given": derived.given,
        "other_code": [each._asdict() for each in derived.other_code],
        "faults": [_fault_json(each) for each in derived.faults],
        "faults_count": derived.faults_count,
    }


def bundle_derived_json(of_bundle: OfBundle) -> dict[str, Any]:
    """Return the result of a bundle as JSON."""
    return derived_json(of_bundle.derived) | {"upto": of_bundle.upto, "ended": of_bundle.ended or None}


def _fault_json(fault: DerivationFault) -> dict[str, Any]:
    return {
        "seq": fault.seq,
        "topic": fault.topic,
        "stream": fault.stream,
        "reason": fault.reason,
        "expected": msgspec.to_builtins(fault.expected) if fault.expected is not None else None,
        "found": msgspec.to_builtins(fault.found) if fault.found is not None else None,
    }


def show_derived(derived: Derived) -> None:
    """Show what follows, what was taken as given, and what other code decided."""
    say(f"{derived.events:,} events follow from {derived.units:,} requests and batches of reports, decided again.")
    if derived.given:
        taken = ", ".join(f"{count:,} {topic}" for topic, count in derived.given.items())
        note(f"Taken as they are: {taken}.")
    for each in derived.other_code:
        note(
            f"Decided by other code, not decided again: {each.events:,} events from seq {each.first:,} to "
            f"{each.last:,}, in appends with {each.topics}."
        )


def show_bundle_derived(of_bundle: OfBundle) -> None:
    """Show the result of a bundle, and how far it goes."""
    show_derived(of_bundle.derived)
    if of_bundle.ended:
        note(f"After seq {of_bundle.upto:,} nothing was decided again: {of_bundle.ended}.")
