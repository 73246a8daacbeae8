"""What programs send: JSON objects, read strictly."""

from typing import Annotated

import msgspec
from flask import request

from p2k16.errors import Refused

MALFORMED = "The request body must be a JSON object with fields of the right types."

type Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


def read[T](type: type[T]) -> T:
    """Returns the body as an object of this type; raises Refused when it is none."""
    try:
        return msgspec.json.decode(request.get_data(), type=type)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(400, MALFORMED) from error
