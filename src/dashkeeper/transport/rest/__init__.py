"""The REST form of the registrations: the seed's own JSON, over the same service methods as the RPCs."""
