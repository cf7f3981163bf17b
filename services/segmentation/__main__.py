"""Segmentation: the features of each customer and their RFM segment."""

from datetime import timedelta

from chassis.jobs import Job
from chassis.service import Service
from services.segmentation import api, handlers
from services.segmentation.recompute import recompute_rfm
from services.segmentation.settings import segmentation_settings

service = Service(
    "segmentation",
    hears=handlers.hears,
    api=api.router,
    jobs=[Job(recompute_rfm, every=timedelta(seconds=segmentation_settings().rfm_every_s))],
)

if __name__ == "__main__":
    service.run()
