"""An independent check of a platform against the truth of what was sent."""
