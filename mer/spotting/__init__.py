"""From a video to candidate intervals: frames, followed faces, motion of facial regions, scores."""
