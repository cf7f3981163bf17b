"""One complete example of each record, as its JSON: Anna buys, brings a part back, is asked and answers."""

from typing import Any, Final

ANNA: Final = "019a9f0e-2f6b-7c1d-9b1e-5a4f0c7d2e11"
OTHER_ANNA: Final = "019a9f0e-2f6b-7c1d-9b1e-5a4f0c7d2e99"
ACCOUNT: Final = "019a9f0e-2f6d-7a02-8e57-3c1b9d5f6a20"
CARD: Final = "2900000000018"
RECEIPT: Final = "367-04-2025-11-02-000117"
RETURN: Final = "367-04-2025-11-03-000021"
MESSAGE: Final = "019a9f12-7c3e-7b44-a0d1-2f6e8c9b1d33"
REVIEW: Final = "019a9f13-0b5a-7f10-9c22-6d4e1a8f7b44"

Example = dict[str, Any]
_TILL: Final[Example] = {"card_number": CARD, "receipt_id": RECEIPT, "store_id": "367", "terminal_id": "367-04"}
_OPERATION: Final[Example] = {"customer_id": ANNA, "account_id": ACCOUNT, "points_currency": "points"}
_MESSAGE: Final[Example] = {
    "message_id": MESSAGE,
    "message_key": "nps:019a9f12",
    "customer_id": ANNA,
    "template": "nps_question",
}

EXAMPLES: Final[dict[str, Example]] = {
    "customers.customer_registered.v1": {
        "customer_id": ANNA,
        "registered_at": "2025-11-01T09:30:00Z",
        "source": "till",
    },
    "customers.customer_changed.v1": {"customer_id": ANNA, "changed": ["phone", "language"]},
    "customers.consent_given.v1": {
        "customer_id": ANNA,
        "channel": "telegram",
        "given_at": "2025-11-01T09:32:10Z",
        "source": "bot",
    },
    "customers.consent_withdrawn.v1": {
        "customer_id": ANNA,
        "channel": "sms",
        "withdrawn_at": "2025-11-01T09:33:00Z",
        "source": "operator",
    },
    "customers.customer_blocked.v1": {
        "customer_id": ANNA,
        "blocked_at": "2025-12-01T10:00:00Z",
        "reason": "suspected_fraud",
    },
    "customers.customer_unblocked.v1": {"customer_id": ANNA, "unblocked_at": "2025-12-03T10:00:00Z"},
    "customers.customers_merged.v1": {
        "customer_id": ANNA,
        "merged_id": OTHER_ANNA,
        "merged_at": "2025-12-10T09:00:00Z",
    },
    "customers.customers_unmerged.v1": {
        "customer_id": ANNA,
        "merged_id": OTHER_ANNA,
        "unmerged_at": "2025-12-11T09:00:00Z",
    },
    "customers.customer_erased.v1": {"customer_id": ANNA, "erased_at": "2026-02-01T12:00:00Z"},
    "customers.contact.v1": {
        "customer_id": ANNA,
        "first_name": "Анна",
        "last_name": "Иванова",
        "birth_date": "1990-04-12",
        "phone": "+79161234567",
        "email": "anna@example.org",
        "telegram_chat_id": 100500,
        "language": "ru",
        "time_zone": "Europe/Moscow",
        "consents": [{"channel": "telegram", "given_at": "2025-11-01T09:32:10Z"}],
        "unreachable": ["email"],
    },
    "customers.contact_erased.v1": {"customer_id": ANNA},
    "customers.card.v1": {
        "card_number": CARD,
        "customer_id": ANNA,
        "state": "blocked",
        "replaced_by": "2900000000025",
    },
    "customers.link_telegram.v1": {
        "phone": "+79161234567",
        "telegram_chat_id": 100500,
        "first_name": "Анна",
        "last_name": "Иванова",
        "language": "ru",
    },
    "customers.unlink_telegram.v1": {"customer_id": ANNA, "telegram_chat_id": 100500},
    "pos.purchase_completed.v1": {
        **_TILL,
        "phone": "+79161234567",
        "customer_id": ANNA,
        "completed_at": "2025-11-02T15:04:05+03:00",
        "currency": "RUB",
        "lines": [
            {
                "line_no": 1,
                "product_id": "1082185",
                "category": "BANANAS",
                "quantity": "2.150",
                "amount_minor": 36000,
                "discount_minor": 6000,
                "total_minor": 30000,
            },
            {
                "line_no": 2,
                "product_id": "981760",
                "category": "COFFEE",
                "quantity": "1",
                "amount_minor": 84000,
                "discount_minor": 0,
                "total_minor": 84000,
            },
        ],
        "discount_minor": 6000,
        "total_minor": 114000,
    },
    "pos.purchase_returned.v1": {
        "return_id": RETURN,
        **_TILL,
        "phone": "+79161234567",
        "customer_id": ANNA,
        "returned_at": "2025-11-03T11:20:00+03:00",
        "currency": "RUB",
        "lines": [{"line_no": 1, "quantity": "2.150", "total_minor": 30000}],
        "total_minor": 30000,
    },
    "pos.purchase_cancelled.v1": {
        **_TILL,
        "phone": "+79161234567",
        "customer_id": ANNA,
        "cancelled_at": "2025-11-02T15:06:00+03:00",
    },
    "loyalty.points_accrued.v1": {
        **_OPERATION,
        "operation_id": "019a9f0e-5b20-7d3a-b1c4-8e7f2a6d9c55",
        "balance_after": 204,
        "points": 57,
        "receipt_id": RECEIPT,
        "store_id": "367",
        "terminal_id": "367-04",
        "completed_at": "2025-11-02T12:04:05Z",
        "currency": "RUB",
        "total_minor": 114000,
        "categories": [
            {"category": "BANANAS", "total_minor": 30000},
            {"category": "COFFEE", "total_minor": 84000},
        ],
        "expires_at": "2026-11-02T12:04:05Z",
    },
    "loyalty.points_adjusted.v1": {
        **_OPERATION,
        "operation_id": "019aa3f0-11aa-7c21-9e0b-6a7b8c9d0e10",
        "balance_after": 304,
        "points": 100,
        "reason": "complaint",
        "actor": "operator:anna",
        "adjusted_at": "2025-11-04T10:00:00Z",
        "expires_at": "2026-11-04T10:00:00Z",
    },
    "loyalty.points_expired.v1": {
        **_OPERATION,
        "operation_id": "019c5b10-63cc-7e43-9a2d-8c9d0e1f2a32",
        "balance_after": 174,
        "points": 30,
        "expired_at": "2026-11-02T12:05:00Z",
    },
    "loyalty.terms_changed.v1": {
        "terms_id": "019b2a00-74dd-7f54-8b3e-9d0e1f2a3b43",
        "in_force_from": "2026-01-01T00:00:00Z",
        "changes": [{"term": "lot_life_days", "before": "365", "after": "180"}],
        "actor": "operator:anna",
        "set_at": "2025-12-15T09:00:00Z",
    },
    "loyalty.operation_reversed.v1": {
        **_OPERATION,
        "operation_id": "019aa3f4-52bb-7d32-8f1c-7b8c9d0e1f21",
        "reverses": "019aa3f0-11aa-7c21-9e0b-6a7b8c9d0e10",
        "balance_after": 204,
        "points": -100,
        "reason": "mistake",
        "actor": "operator:anna",
        "reversed_at": "2025-11-04T10:05:00Z",
    },
    "loyalty.account_frozen.v1": {**_OPERATION, "reason": "suspected_fraud", "frozen_at": "2025-12-01T10:00:00Z"},
    "loyalty.account_unfrozen.v1": {
        **_OPERATION,
        "unfrozen_at": "2025-12-03T10:00:00Z",
        "lots_prolonged_s": 172800,
    },
    "loyalty.points_returned.v1": {
        **_OPERATION,
        "operation_id": "019aa2e1-4c11-7a90-8f03-1d2b3c4e5f66",
        "balance_after": 189,
        "points": 15,
        "cause": "return",
        "return_id": RETURN,
        "receipt_id": RECEIPT,
        "store_id": "367",
        "returned_at": "2025-11-03T08:20:00Z",
        "currency": "RUB",
        "total_minor": 30000,
        "categories": [{"category": "BANANAS", "total_minor": 30000}],
        "written_off": 0,
    },
    "loyalty.balance.v1": {
        "customer_id": ANNA,
        "balances": [{"points_currency": "points", "available": 204}],
        "as_of": "2025-11-02T12:04:05.210Z",
    },
    "messaging.send_message.v1": {
        "message_key": "nps:019a9f12",
        "customer_id": ANNA,
        "template": "nps_question",
        "parameters": {"store_id": "367", "total_minor": 114000},
        "purpose": "service",
        "buttons": [[{"label": "9", "data": "nps:019a9f13:9"}, {"label": "10", "data": "nps:019a9f13:10"}]],
        "expires_at": "2025-11-03T12:04:05Z",
    },
    "messaging.message_accepted.v1": {**_MESSAGE, "channel": "telegram", "accepted_at": "2025-11-02T12:04:06Z"},
    "messaging.message_sent.v1": {
        **_MESSAGE,
        "channel": "telegram",
        "sent_at": "2025-11-02T12:04:06.480Z",
        "cost_micros": 0,
        "currency": "RUB",
    },
    "messaging.message_failed.v1": {
        **_MESSAGE,
        "channel": "telegram",
        "reason": "unreachable",
        "failed_at": "2025-11-02T12:04:07Z",
    },
    "messaging.message_outcome_unknown.v1": {
        **_MESSAGE,
        "channel": "telegram",
        "unknown_since": "2025-11-02T12:04:16Z",
    },
    "messaging.contact_went_bad.v1": {
        "customer_id": ANNA,
        "channel": "telegram",
        "reason": "bot_blocked",
        "since": "2025-11-02T12:04:07Z",
    },
    "segmentation.rfm_moved.v1": {
        "customer_id": ANNA,
        "before": "new",
        "after": "potential_loyalist",
        "recency": 5,
        "frequency": 2,
        "monetary": 3,
        "moved_at": "2025-11-03T00:05:00Z",
    },
    "feedback.review_left.v1": {
        "customer_id": ANNA,
        "review_id": REVIEW,
        "score": 9,
        "receipt_id": RECEIPT,
        "store_id": "367",
        "left_at": "2025-11-02T12:10:41Z",
    },
    "feedback.review_commented.v1": {
        "customer_id": ANNA,
        "review_id": REVIEW,
        "commented_at": "2025-11-02T12:11:30Z",
    },
    "feedback.appeal_opened.v1": {
        "customer_id": ANNA,
        "appeal_id": "019a9f20-1122-7334-8556-778899aabbcc",
        "opened_at": "2025-11-02T18:00:12Z",
    },
    "feedback.appeal_answered.v1": {
        "customer_id": ANNA,
        "appeal_id": "019a9f20-1122-7334-8556-778899aabbcc",
        "answered_at": "2025-11-02T18:20:45Z",
    },
    "feedback.telegram_linked.v1": {"customer_id": ANNA, "linked_at": "2025-11-01T09:31:40Z"},
    "feedback.telegram_unlinked.v1": {"customer_id": ANNA, "unlinked_at": "2025-12-24T20:00:00Z"},
}
