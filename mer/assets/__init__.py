"""Files that the package ships: the face landmark model of MediaPipe."""

from pathlib import Path

#: MediaPipe's face landmarker (Apache-2.0), see the licence beside it.
FACE_MODEL = Path(__file__).with_name("face_landmarker.task")
FACE_MODEL_SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
