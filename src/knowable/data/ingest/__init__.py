"""From a vendor's rows to judged observations."""
