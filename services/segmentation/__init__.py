"""Segmentation: what kind of customer it is.

Owns the features of each customer (how often, how much, when, where, what of) and their RFM segment; see
`docs/segmentation.md`. Hears `loyalty.events` (PointsAccrued, PointsReturned, ReviewDecided) and `customers.events`
(CustomersMerged, CustomersUnmerged, CustomerErased). Says `segmentation.events` (RfmMoved).
"""
