"""What a device writes down in its database: interactions, events, and the uploads that wait."""
