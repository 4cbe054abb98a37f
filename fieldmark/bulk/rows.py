"""The row of one photo in the results of a job: its columns."""

import pyarrow as pa

MIN_PROBABILITY = 0.001  # of the predictions that a row keeps beyond the first ones
PREDICTION = pa.struct([("label", pa.string()), ("probability", pa.float32())])
BOX = pa.struct([(name, pa.float32()) for name in ("left", "top", "width", "height", "score")])
SCHEMA = pa.schema(  # all columns but `path` are null where a photo has no such value
    [
        pa.field("path", pa.string(), nullable=False),  # unique; as the photo was listed
        ("kind", pa.string()),  # species, shortlist or unknown
        ("label", pa.string()),  # these four are those of the most probable label
        ("common_name", pa.string()),
        ("scientific_name", pa.string()),
        ("probability", pa.float32()),
        ("shortlist", pa.list_(pa.string())),  # the prediction set; empty if unknown
        ("taxon_rank", pa.string()),  # of the smallest taxon that contains the prediction set
        ("taxon", pa.string()),
        ("unknown_score", pa.float32()),  # higher: less familiar
        ("text", pa.string()),  # the answer in words
        ("predictions", pa.list_(PREDICTION)),  # most probable first; see MIN_PROBABILITY
        ("width", pa.int32()),  # pixels of the upright photo, as boxes and crops
        ("height", pa.int32()),
        ("crop", pa.list_(pa.int32())),  # left, top, width and height of what was classified
        ("crop_from", pa.string()),  # finder or center
        ("boxes", pa.list_(BOX)),  # the finder's, best first
        ("taken", pa.timestamp("s")),  # EXIF: local time of the camera
        ("utc_offset", pa.string()),  # EXIF: such as +02:00
        ("camera", pa.string()),  # EXIF: make, model and serial number
        ("latitude", pa.float64()),  # EXIF: degrees
        ("longitude", pa.float64()),
        ("embedding", pa.list_(pa.float16())),
        ("error", pa.string()),  # why the photo could not be read; then all others are null
    ]
)
EXIF_COLUMNS = ("taken", "utc_offset", "camera", "latitude", "longitude")
