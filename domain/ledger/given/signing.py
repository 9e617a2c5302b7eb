"""The signing keys on record: each key that signs checkpoints, and the statement of the one before that vouches for it.

The domain keeps the statements; `adapters.proof.checkpoints` verifies them. A `vkey` is a public key in the C2SP format
`<name>+<key id>+<base64>`. A key signs the checkpoints of more than `since_size` events, until the next key does.
"""

from msgspec import Struct

STREAM = "signing:keys"  # one event a key, in their order


# Events: the stored format. A name or a field here outlives this code; change one only with an upcast.
class SigningKeyStarted(Struct, frozen=True, gc=False, tag="SigningKeyStarted"):
    """The ledger's first signing key was published."""

    vkey: str
    since_size: int


class SigningKeyHandedOver(Struct, frozen=True, gc=False, tag="SigningKeyHandedOver"):
    """The previous key has handed over to a new one.

    `statement` is a checkpoint of `since_size` events, signed by the previous key, that names the new one.
    """

    vkey: str
    since_size: int
    previous_vkey: str
    statement: str


class SigningKeyLost(Struct, frozen=True, gc=False, tag="SigningKeyLost"):
    """A new key was begun without a statement of the previous one, which was lost: the chain of keys is broken here.

    Trust in an earlier key is no reason to trust this one: its owner must publish it another way.
    """

    vkey: str
    since_size: int
    previous_vkey: str


SigningEvent = SigningKeyStarted | SigningKeyHandedOver | SigningKeyLost
