"""The way in: a source's records that changed since the last pull become files of the export, which an adapter reads."""
