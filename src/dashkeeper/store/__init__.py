"""Where dashboards are kept: the contract (base) and its one implementation, in SQL."""
