"""Clips in, clips out: the only package of the reference that touches files (WS-MEDIA)."""
