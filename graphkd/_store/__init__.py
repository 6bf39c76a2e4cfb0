"""The inside of the teacher store: files, unfinished builds, batches, fingerprints."""
