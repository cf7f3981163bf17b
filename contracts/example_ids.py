"""What the examples of the records have in common: Anna, her card, her receipt."""

from typing import Any, Final

ANNA: Final = "019a9f0e-2f6b-7c1d-9b1e-5a4f0c7d2e11"
OTHER_ANNA: Final = "019a9f0e-2f6b-7c1d-9b1e-5a4f0c7d2e99"
ACCOUNT: Final = "019a9f0e-2f6d-7a02-8e57-3c1b9d5f6a20"
HOLD: Final = "019aa400-11aa-7c21-9e0b-6a7b8c9d0e77"
CARD: Final = "2900000000018"
RECEIPT: Final = "367-04-2025-11-02-000117"
RETURN: Final = "367-04-2025-11-03-000021"
MESSAGE: Final = "019a9f12-7c3e-7b44-a0d1-2f6e8c9b1d33"
REVIEW: Final = "019a9f13-0b5a-7f10-9c22-6d4e1a8f7b44"

Example = dict[str, Any]
OPERATION: Final[Example] = {"customer_id": ANNA, "account_id": ACCOUNT, "points_currency": "points"}
