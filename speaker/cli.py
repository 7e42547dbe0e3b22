"""The commands `starling speaker`, `why` and `status`."""
