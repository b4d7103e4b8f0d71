"""A device's state folder: every file that is kept in it, whole after a kill or a power cut."""
