"""Complete examples of the records about limits."""

from typing import Final

from contracts.example_ids import ANNA, OPERATION, RECEIPT, RETURN, Example

LIMIT_EXAMPLES: Final[dict[str, Example]] = {
    "loyalty.review_opened.v1": {
        "review_id": "019aa3f6-61cc-7e43-9a2d-8c9d0e1f2a32",
        "customer_id": ANNA,
        "limit": "till_day",
        "per": "terminal",
        "measure": "returns",
        "counted": 4,
        "most": 3,
        "hard": False,
        "receipt_id": RECEIPT,
        "return_id": RETURN,
        "store_id": "367",
        "terminal_id": "367-04",
        "occurred_at": "2025-11-03T08:20:00Z",
        "opened_at": "2025-11-03T08:20:01Z",
    },
    "loyalty.review_decided.v1": {
        "review_id": "019aa3f6-61cc-7e43-9a2d-8c9d0e1f2a32",
        "customer_id": ANNA,
        "limit": "till_day",
        "receipt_id": RECEIPT,
        "verdict": "approved",
        "reason": "large_family",
        "actor": "operator:anna",
        "correction_id": "019aa3f7-72dd-7f54-8b3e-9dae1f2a3b43",
        "decided_at": "2025-11-04T10:10:00Z",
    },
    "loyalty.points_corrected.v1": {
        **OPERATION,
        "operation_id": "019aa3f7-72dd-7f54-8b3e-9dae1f2a3b43",
        "balance_after": 261,
        "points": 57,
        "receipt_id": RECEIPT,
        "review_id": "019aa3f6-61cc-7e43-9a2d-8c9d0e1f2a32",
        "written_off": 0,
        "owed": 0,
        "activates_at": "2025-11-16T12:04:05Z",
        "expires_at": "2026-11-02T12:04:05Z",
        "debt_paid": 0,
        "corrected_at": "2025-11-04T10:10:00Z",
        "available_after": 147,
    },
}
