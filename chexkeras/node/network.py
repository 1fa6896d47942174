"""How pynetdicom is used: without a word in logs, sending files as they are, one of its faults worked around."""

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pynetdicom.association import Association


def set_up_network_library() -> None:
    """Keeps pynetdicom from logging what it sends and receives, and from decoding what it sends.

    Its log would hold patients' text; and a file of ours is encoded already as the peer has agreed to.
    """
    from pynetdicom import _config

    _config.LOG_HANDLER_LEVEL = "none"
    _config.STORE_SEND_CHUNKED_DATASET = True
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)


def settle(association: "Association") -> None:
    """Sees to it that the answer to the next request reaches whoever asks; called before each request.

    In pynetdicom 3.0.4 the thread of an association pauses while a request waits for its answer. After the one before,
    it may not have woken yet when the next request looks whether it pauses; then it takes the answer away, and the
    request waits until its time is over (once in some hundred requests on a busy machine).

    Args:
        association: The association.
    """
    # It says so anew once it has looked for messages, and pauses.
    association._is_paused = False
