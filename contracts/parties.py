"""Who says what and who hears what. The services' own code is the truth; a test holds this table against it."""

from collections.abc import Mapping
from typing import Final

from contracts.customers import (
    Card,
    ConsentGiven,
    ConsentWithdrawn,
    Contact,
    ContactErased,
    CustomerBlocked,
    CustomerChanged,
    CustomerErased,
    CustomerRegistered,
    CustomersMerged,
    CustomersUnmerged,
    CustomerUnblocked,
    LinkTelegram,
    UnlinkTelegram,
)
from contracts.feedback import (
    AppealAnswered,
    AppealOpened,
    ReviewCommented,
    ReviewLeft,
    TelegramLinked,
    TelegramUnlinked,
)
from contracts.holds import HoldReleased, PointsHeld, PurchaseAbandoned
from contracts.limits import PointsCorrected, ReviewDecided, ReviewOpened
from contracts.loyalty import (
    AccountFrozen,
    AccountUnfrozen,
    Balance,
    CoefficientsChanged,
    FamilyJoined,
    FamilyLeft,
    OperationReversed,
    PointsAccrued,
    PointsActivated,
    PointsAdjusted,
    PointsExpired,
    PointsExpiring,
    PointsMoved,
    PointsRedeemed,
    PointsRefunded,
    PointsReturned,
    TermsChanged,
)
from contracts.loyalty_commands import AccruePoints, BurnPoints
from contracts.messaging import (
    ContactWentBad,
    MessageAccepted,
    MessageFailed,
    MessageOutcomeUnknown,
    MessageSent,
    SendMessage,
)
from contracts.purchases import PurchaseCancelled, PurchaseCompleted, PurchaseReturned
from contracts.records import Record
from contracts.segmentation import RfmMoved

PARTIES: Final[Mapping[str, str]] = {
    "tills": "The chain's tills, or the program that collects their receipts.",
    "triggers": "Whatever sets points off on an occasion: segmentation's triggers, a chain's own programs.",
    "customers": "Who the customer is: profile, contacts, cards, consents.",
    "loyalty": "What the customer has: purchases, points, levels.",
    "messaging": "What the customer is told, and by which channel.",
    "segmentation": "What kind of customer it is.",
    "feedback": "What the customer tells us: the Telegram bot, reviews, appeals.",
}

SAYS: Final[Mapping[str, tuple[type[Record], ...]]] = {
    "tills": (PurchaseCompleted, PurchaseReturned, PurchaseCancelled),
    "triggers": (AccruePoints, BurnPoints),
    "customers": (
        CustomerRegistered,
        CustomerChanged,
        ConsentGiven,
        ConsentWithdrawn,
        CustomerBlocked,
        CustomerUnblocked,
        CustomersMerged,
        CustomersUnmerged,
        CustomerErased,
        Contact,
        ContactErased,
        Card,
    ),
    "loyalty": (
        PointsAccrued,
        PointsReturned,
        PointsHeld,
        HoldReleased,
        PointsRedeemed,
        PointsRefunded,
        PurchaseAbandoned,
        PointsAdjusted,
        PointsActivated,
        PointsExpiring,
        PointsExpired,
        PointsMoved,
        OperationReversed,
        PointsCorrected,
        ReviewOpened,
        ReviewDecided,
        CoefficientsChanged,
        FamilyJoined,
        FamilyLeft,
        TermsChanged,
        AccountFrozen,
        AccountUnfrozen,
        Balance,
    ),
    "messaging": (MessageAccepted, MessageSent, MessageFailed, MessageOutcomeUnknown, ContactWentBad),
    "segmentation": (RfmMoved,),
    "feedback": (
        ReviewLeft,
        ReviewCommented,
        AppealOpened,
        AppealAnswered,
        TelegramLinked,
        TelegramUnlinked,
        LinkTelegram,
        UnlinkTelegram,
        SendMessage,
    ),
}

PASSES_ON: Final[Mapping[str, tuple[type[Record], ...]]] = {
    "loyalty": (PurchaseCompleted, PurchaseReturned, PurchaseCancelled),
}
"""What a service publishes for others, who say it over HTTP: tills that cannot speak Kafka."""

HEARS: Final[Mapping[str, tuple[type[Record], ...]]] = {
    "customers": (LinkTelegram, UnlinkTelegram, ContactWentBad),
    "loyalty": (
        PurchaseCompleted,
        PurchaseReturned,
        PurchaseCancelled,
        Card,
        Contact,
        ContactErased,
        CustomerBlocked,
        CustomerUnblocked,
        CustomersMerged,
        CustomersUnmerged,
        AccruePoints,
        BurnPoints,
    ),
    "messaging": (
        Contact,
        ContactErased,
        PointsAccrued,
        PointsReturned,
        PointsExpiring,
        PointsActivated,
        PointsAdjusted,
        OperationReversed,
        PointsCorrected,
        SendMessage,
    ),
    "segmentation": (PointsAccrued, PointsReturned, ReviewDecided, CustomerErased, CustomersMerged, CustomersUnmerged),
    "feedback": (Contact, ContactErased, PointsAccrued, Balance),
}
